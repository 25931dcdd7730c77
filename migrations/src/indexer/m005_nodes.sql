-- What is taken for true of a node, by subject, after a single failed probe was given a second chance.
ALTER TABLE indexer.node_probe ADD COLUMN settled jsonb NOT NULL DEFAULT '{}';

-- Every change of it. Rows are kept for 30 days and outlive their node.
CREATE TABLE indexer.node_event (
    id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    network  text NOT NULL,
    node_id  uuid NOT NULL,
    name     text NOT NULL,
    signer   bytea NOT NULL CHECK (length(signer) = 20),
    -- The name of a check, PROCESS_REACHABLE, READY_TO_LOCK or VALIDATOR.
    subject  text NOT NULL,
    -- Empty at the first probe.
    before   text NOT NULL,
    after    text NOT NULL,
    message  text NOT NULL,
    at       timestamptz NOT NULL
);
CREATE INDEX node_event_network ON indexer.node_event (network, id);
CREATE INDEX node_event_at ON indexer.node_event (at);
