-- API keys. The secret itself is stored nowhere: only its hash, and since it has 256 random bits, a plain one.
CREATE TABLE gateway.api_key (
    id             text PRIMARY KEY CHECK (id ~ '^[0-9a-f]{16}$'),
    name           text NOT NULL CHECK (length(name) BETWEEN 1 AND 63),
    secret_hash    bytea NOT NULL CHECK (octet_length(secret_hash) = 32),
    scopes         text[] NOT NULL
                     CHECK (scopes <@ ARRAY['read', 'prepare', 'operate', 'approve', 'admin'] AND cardinality(scopes) > 0),
    -- Labels that a sequencer must have for the key to act on it; null for every sequencer.
    label_selector jsonb CHECK (jsonb_typeof(label_selector) = 'object'),
    created_at     timestamptz NOT NULL DEFAULT now(),
    expires_at     timestamptz NOT NULL,
    revoked_at     timestamptz,
    CHECK (expires_at > created_at)
);
