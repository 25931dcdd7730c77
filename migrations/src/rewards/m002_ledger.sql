-- How far the event stream of each network has been applied; moves in the transaction of its effects.
CREATE TABLE rewards.stream_position (
    network      text PRIMARY KEY,
    cursor       text NOT NULL,
    block_number bigint NOT NULL,
    block_hash   bytea NOT NULL,
    block_time   timestamptz NOT NULL,
    safe         bigint NOT NULL,
    finalized    bigint NOT NULL
);

-- The ledger: what was credited, and where it went. A reorganisation removes what stood above it.
CREATE TABLE rewards.entry (
    network      text NOT NULL,
    block_number bigint NOT NULL,
    log_index    integer NOT NULL,
    sequencer_id bigint NOT NULL CHECK (sequencer_id > 0),
    kind         text NOT NULL CHECK (kind IN ('CREDIT', 'CLAIM', 'COMPOUND', 'EXIT')),
    amount_wei   numeric(78, 0) NOT NULL CHECK (amount_wei >= 0),
    batch_id     bigint,
    blocks       bigint,
    recipient    bytea,
    block_hash   bytea NOT NULL,
    block_time   timestamptz NOT NULL,
    tx_hash      bytea NOT NULL,
    PRIMARY KEY (network, block_number, log_index, sequencer_id),
    CHECK ((kind = 'CREDIT') = (batch_id IS NOT NULL AND blocks IS NOT NULL)),
    CHECK ((kind IN ('CLAIM', 'EXIT')) = (recipient IS NOT NULL))
);
CREATE INDEX entry_of_sequencer ON rewards.entry (network, sequencer_id, block_number, log_index);

-- The principal that earns, after each change: for rates over the lock really held. An exit sets it to 0.
CREATE TABLE rewards.principal (
    network      text NOT NULL,
    sequencer_id bigint NOT NULL,
    block_number bigint NOT NULL,
    log_index    integer NOT NULL,
    block_time   timestamptz NOT NULL,
    amount_wei   numeric(78, 0) NOT NULL CHECK (amount_wei >= 0),
    PRIMARY KEY (network, sequencer_id, block_number, log_index)
);

-- Batches with their totals, split or not.
CREATE TABLE rewards.batch (
    network              text NOT NULL,
    batch_id             bigint NOT NULL,
    block_number         bigint NOT NULL,
    block_time           timestamptz NOT NULL,
    amount_wei           numeric(78, 0) NOT NULL,
    reward_per_block_wei numeric(78, 0) NOT NULL,
    method               text NOT NULL,
    PRIMARY KEY (network, batch_id)
);

-- The last comparison of the ledger with the contracts.
CREATE TABLE rewards.reconciliation (
    network          text PRIMARY KEY,
    block_number     bigint NOT NULL,
    block_hash       bytea NOT NULL,
    block_time       timestamptz NOT NULL,
    drift            bigint NOT NULL,
    first_difference text NOT NULL,
    compared_at      timestamptz NOT NULL DEFAULT clock_timestamp()
);
