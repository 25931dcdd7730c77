-- Keys of hardware modules, clouds and remote signers: no envelope, but what their backend calls them.
ALTER TABLE keys.key DROP CONSTRAINT key_backend_check;
ALTER TABLE keys.key
    ADD COLUMN reference text,
    ALTER COLUMN kek_generation DROP NOT NULL,
    ALTER COLUMN envelope_version DROP NOT NULL,
    ALTER COLUMN wrapped_data_key DROP NOT NULL,
    ALTER COLUMN ciphertext DROP NOT NULL,
    ADD CONSTRAINT key_backend_name CHECK (backend ~ '^[a-z0-9-]{1,63}$'),
    -- A local key has an envelope and nothing else; any other has a reference and no envelope.
    ADD CONSTRAINT key_place CHECK (
        CASE WHEN backend = 'local'
             THEN reference IS NULL
              AND num_nulls(kek_generation, envelope_version, wrapped_data_key, ciphertext) = 0
             ELSE octet_length(reference) BETWEEN 1 AND 1024 AND reference IS NOT NULL
              AND num_nonnulls(kek_generation, envelope_version, wrapped_data_key, ciphertext) = 0
        END);
CREATE UNIQUE INDEX key_reference ON keys.key (backend, reference) WHERE reference IS NOT NULL;

-- Signatures of backends that draw a random number for each one: the first that was made is the one that is
-- given again, by every replica. Local keys need no row, they always sign a digest the same way (RFC 6979).
CREATE TABLE keys.signature (
    key_id    text NOT NULL REFERENCES keys.key (id),
    digest    bytea NOT NULL CHECK (length(digest) = 32),
    -- r and s, s low.
    numbers   bytea NOT NULL CHECK (length(numbers) = 64),
    signed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (key_id, digest)
);
