-- Keys that come from an archive make their accounts unproven, and what must only grow by a decision is written by functions only.

-- The archive, SHA-256, where keys came from one; else the database itself was put back. The same head may stand in
-- several archives, but is lost only once.
ALTER TABLE keys.restoration ADD COLUMN archive bytea CHECK (length(archive) = 32);
ALTER TABLE keys.restoration DROP CONSTRAINT restoration_published_sequence_published_hash_key;
CREATE UNIQUE INDEX restoration_lost_head ON keys.restoration (published_sequence, published_hash) WHERE archive IS NULL;

-- The highest nonce that an archive says was signed: no floor is confirmed at or below it.
CREATE TABLE keys.nonce_known (
    restoration bigint NOT NULL REFERENCES keys.restoration (id),
    chain_id    bigint NOT NULL CHECK (chain_id > 0),
    account     bytea NOT NULL CHECK (length(account) = 20),
    nonce       bigint NOT NULL CHECK (nonce >= 0 AND nonce < 9223372036854775807),
    PRIMARY KEY (chain_id, account, restoration)
);

-- An older state of this database was put back. Whether that was not known before.
CREATE FUNCTION keys.database_was_restored(_published_sequence bigint, _published_hash bytea, _database_sequence bigint) RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO keys.restoration (published_sequence, published_hash, database_sequence)
        VALUES (_published_sequence, _published_hash, _database_sequence)
        ON CONFLICT (published_sequence, published_hash) WHERE archive IS NULL DO NOTHING;
    RETURN FOUND;
END
$$;

-- Keys of `_accounts` came from an archive that was made at this record of another log. What they signed since is not known here,
-- so they are unproven, on every network. The keys that were here before keep what they had on `_chain_ids`, the networks of the
-- policy, and wherever a floor was confirmed. Behind the lock on audit_head, as decisions are.
CREATE FUNCTION keys.keys_were_restored(
    _archive bytea, _published_sequence bigint, _published_hash bytea, _accounts bytea[], _chain_ids bigint[],
    _known_chain_ids bigint[], _known_accounts bytea[], _known_nonces bigint[]) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    _end bigint;
    _before bigint;
    _now bigint;
BEGIN
    SELECT h.sequence INTO STRICT _end FROM keys.audit_head AS h FOR UPDATE;
    _before := (SELECT max(r.id) FROM keys.restoration AS r);
    INSERT INTO keys.restoration (published_sequence, published_hash, database_sequence, archive)
        VALUES (_published_sequence, _published_hash, _end, _archive) RETURNING id INTO _now;
    INSERT INTO keys.nonce_floor (restoration, chain_id, account, nonce, confirmed_by)
        SELECT _now, f.chain_id, f.account, max(f.nonce), 'keys' FROM keys.nonce_floor AS f
         WHERE f.restoration = _before AND NOT EXISTS (SELECT 1 FROM unnest(_accounts) AS new (account) WHERE new.account = f.account)
         GROUP BY f.chain_id, f.account;
    IF _before IS NULL THEN
        INSERT INTO keys.nonce_floor (restoration, chain_id, account, nonce, confirmed_by)
            SELECT _now, c.id, k.address, 0, 'keys' FROM keys.key AS k CROSS JOIN unnest(_chain_ids) AS c (id)
             WHERE NOT EXISTS (SELECT 1 FROM unnest(_accounts) AS new (account) WHERE new.account = k.address);
    END IF;
    INSERT INTO keys.nonce_known (restoration, chain_id, account, nonce)
        SELECT _now, n.chain_id, n.account, n.nonce
          FROM unnest(_known_chain_ids, _known_accounts, _known_nonces) AS n (chain_id, account, nonce);
END
$$;

-- A key was made here just now, so its account has signed nothing anywhere: a restoration of before casts no doubt on it.
CREATE FUNCTION keys.key_was_made(_account bytea, _chain_ids bigint[]) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM 1 FROM keys.audit_head FOR UPDATE;
    INSERT INTO keys.nonce_floor (restoration, chain_id, account, nonce, confirmed_by)
        SELECT r.id, c.id, _account, 0, 'keys' FROM (SELECT max(a.id) AS id FROM keys.restoration AS a) AS r CROSS JOIN unnest(_chain_ids) AS c (id)
         WHERE r.id IS NOT NULL
        ON CONFLICT DO NOTHING;
END
$$;

-- Confirms a floor since the last restoration. `counts` is the one that holds then: no floor falls, and none is at or below a nonce that
-- an archive knows to be signed. NULL if there was no restoration. With `_dry`, nothing is stored.
CREATE FUNCTION keys.confirm_nonce_floor(
    _chain_id bigint, _account bytea, _nonce bigint, _by text, _dry boolean, OUT before bigint, OUT counts bigint)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    _restoration bigint;
BEGIN
    PERFORM 1 FROM keys.audit_head FOR UPDATE;
    _restoration := (SELECT max(r.id) FROM keys.restoration AS r);
    IF _restoration IS NULL THEN
        RETURN;
    END IF;
    before := (SELECT max(f.nonce) FROM keys.nonce_floor AS f
                WHERE f.restoration = _restoration AND f.chain_id = _chain_id AND f.account = _account);
    counts := greatest(_nonce, before, (SELECT max(k.nonce) + 1 FROM keys.nonce_known AS k
                                         WHERE k.chain_id = _chain_id AND k.account = _account));
    IF NOT _dry THEN
        INSERT INTO keys.nonce_floor (restoration, chain_id, account, nonce, confirmed_by)
            VALUES (_restoration, _chain_id, _account, counts, _by) ON CONFLICT DO NOTHING;
    END IF;
END
$$;

-- Stores an approval and its audit record, never one without the other. Its time is that of the database.
CREATE FUNCTION keys.approve(
    _id text, _intent_digest bytea, _words text, _approver text, _requester text, _valid_secs bigint, _fields bytea)
RETURNS SETOF keys.approval
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    _now constant timestamptz := clock_timestamp();
BEGIN
    RETURN QUERY
        INSERT INTO keys.approval (id, intent_digest, words, approver, requester, approved_at, expires_at)
            VALUES (_id, _intent_digest, _words, _approver, _requester, _now, _now + make_interval(secs => _valid_secs))
            RETURNING *;
    PERFORM keys.append_audit(_fields);
END
$$;
