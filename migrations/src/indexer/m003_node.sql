-- Nodes that operators told us of, and what the last probe of each found.
CREATE TABLE indexer.node (
    id           uuid PRIMARY KEY,
    network      text NOT NULL,
    name         text NOT NULL CHECK (name ~ '^[a-z0-9-]{1,63}$'),
    signer       bytea NOT NULL CHECK (length(signer) = 20),
    themis_rpc   text NOT NULL,
    themis_rest  text NOT NULL,
    bridge       text NOT NULL,
    l2geth       text NOT NULL,
    dtl          text NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    UNIQUE (network, name)
);
CREATE INDEX node_signer ON indexer.node (network, signer);

CREATE TABLE indexer.node_probe (
    node_id        uuid PRIMARY KEY REFERENCES indexer.node ON DELETE CASCADE,
    probed_at      timestamptz NOT NULL,
    ready_to_lock  boolean NOT NULL,
    -- The probed half of sequencer.indexer.v1.Node: processes, checks and the validator record.
    report         bytea NOT NULL
);
