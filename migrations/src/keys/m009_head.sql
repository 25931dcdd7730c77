-- Ed25519 keys with which heads of the audit log are signed, each sealed under a key-encryption key. A new one is made
-- where none opens; which keys there were stays known.
CREATE TABLE keys.head_key (
    public_key  bytea PRIMARY KEY CHECK (length(public_key) = 32),
    sealed_seed bytea NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- For a rotation of the key-encryption key: the same seed, sealed anew.
CREATE FUNCTION keys.reseal_head_key(_public_key bytea, _sealed_seed bytea) RETURNS void
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    UPDATE keys.head_key SET sealed_seed = _sealed_seed WHERE public_key = _public_key;
$$;

-- Heads as they were signed, to be published outside.
CREATE TABLE keys.signed_head (
    sequence    bigint PRIMARY KEY REFERENCES keys.audit_record (sequence),
    hash        bytea NOT NULL CHECK (length(hash) = 32),
    -- Microseconds since 1970, part of what is signed.
    time_micros bigint NOT NULL,
    public_key  bytea NOT NULL REFERENCES keys.head_key (public_key),
    signature   bytea NOT NULL CHECK (length(signature) = 64)
);

-- Each time that a published head was found not to be part of this log: an older state of this database was restored,
-- and what was signed since is not known here.
CREATE TABLE keys.restoration (
    id                 bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    published_sequence bigint NOT NULL,
    published_hash     bytea NOT NULL CHECK (length(published_hash) = 32),
    database_sequence  bigint NOT NULL,
    found_at           timestamptz NOT NULL DEFAULT clock_timestamp(),
    UNIQUE (published_sequence, published_hash)
);

-- The lowest nonce that may be signed since a restoration, as operators confirmed. The highest one counts, in each
-- decision (keys.decide_batch).
CREATE TABLE keys.nonce_floor (
    restoration  bigint NOT NULL REFERENCES keys.restoration (id),
    chain_id     bigint NOT NULL CHECK (chain_id > 0),
    account      bytea NOT NULL CHECK (length(account) = 20),
    nonce        bigint NOT NULL CHECK (nonce >= 0),
    confirmed_by text NOT NULL,
    confirmed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (restoration, chain_id, account, nonce)
);
