-- Generations of the key-encryption key. The check value tells a wrong one from the right one at start.
CREATE TABLE keys.kek (
    generation  integer PRIMARY KEY CHECK (generation > 0),
    -- KEY: 32 bytes as they are. ARGON2ID: derived from a passphrase with the columns below.
    source      text NOT NULL CHECK (source IN ('KEY', 'ARGON2ID')),
    salt        bytea,
    memory_kib  integer,
    passes      integer,
    lanes       integer,
    check_value bytea NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    CHECK ((source = 'ARGON2ID') = (salt IS NOT NULL AND memory_kib IS NOT NULL AND passes IS NOT NULL AND lanes IS NOT NULL))
);

CREATE TABLE keys.key (
    id               text PRIMARY KEY,
    name             text NOT NULL UNIQUE CHECK (name ~ '^[a-z0-9-]{1,63}$'),
    role             text NOT NULL CHECK (role IN ('OWNER', 'SEQUENCER')),
    state            text NOT NULL CHECK (state IN ('ENABLED', 'DISABLED', 'FROZEN')),
    backend          text NOT NULL CHECK (backend IN ('local')),
    address          bytea NOT NULL UNIQUE CHECK (length(address) = 20),
    -- x and y without prefix.
    public_key       bytea NOT NULL CHECK (length(public_key) = 64),
    labels           jsonb NOT NULL DEFAULT '{}',
    -- The secret under its own data key, and that under the key-encryption key of this generation.
    kek_generation   integer NOT NULL REFERENCES keys.kek (generation),
    envelope_version integer NOT NULL,
    wrapped_data_key bytea NOT NULL,
    ciphertext       bytea NOT NULL,
    created_at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    backup_proven_at timestamptz
);
CREATE INDEX key_created ON keys.key (created_at, id);

CREATE FUNCTION keys.set_key_state(_id text, _state text) RETURNS void
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    UPDATE keys.key SET state = _state WHERE id = _id;
$$;

CREATE FUNCTION keys.mark_backup_proven(_ids text[]) RETURNS void
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    UPDATE keys.key SET backup_proven_at = clock_timestamp() WHERE id = ANY (_ids);
$$;

-- The highest version is in force.
CREATE TABLE keys.policy (
    version bigint PRIMARY KEY CHECK (version > 0),
    toml    text NOT NULL,
    set_by  text NOT NULL,
    set_at  timestamptz NOT NULL DEFAULT clock_timestamp()
);
