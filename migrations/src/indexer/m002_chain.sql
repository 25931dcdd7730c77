-- What is observed of the chains. `layer` is 1 for Ethereum and 2 for Metis; `number` is always a block height.
-- Everything derived from a block carries its height, and a change is a new row, never an update: the state as of
-- block N is what the rows up to N say, and taking back a reorganisation is deleting the rows above N.

-- How far each chain of each network has been followed.
CREATE TABLE indexer.checkpoint (
    network       text NOT NULL,
    layer         smallint NOT NULL CHECK (layer IN (1, 2)),
    chain_id      bigint NOT NULL,
    start_block   bigint NOT NULL,
    -- The last block applied; absent before the first.
    number        bigint,
    hash          bytea CHECK (length(hash) = 32),
    time          timestamptz,
    -- What the endpoints say.
    latest        bigint NOT NULL DEFAULT 0,
    safe          bigint NOT NULL DEFAULT 0,
    finalized     bigint NOT NULL DEFAULT 0,
    backfilling   boolean NOT NULL DEFAULT true,
    -- Implementation behind the pool's proxy, as P 1.11 names its variants; empty on L2.
    variant       text NOT NULL DEFAULT '',
    last_contact  timestamptz,
    -- Why nothing moves; empty if it does.
    problem       text NOT NULL DEFAULT '',
    PRIMARY KEY (network, layer),
    CHECK ((number IS NULL) = (hash IS NULL) AND (number IS NULL) = (time IS NULL))
);

-- Reorganisations taken back. Blocks above `to_number` at that moment name the row in `orphaned_by`, so that a reader
-- who stopped on one of them can be told how far to go back: to the lowest `to_number` of this and all later rows.
CREATE TABLE indexer.reorg (
    id               bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    network          text NOT NULL,
    layer            smallint NOT NULL CHECK (layer IN (1, 2)),
    from_number      bigint NOT NULL,
    from_hash        bytea NOT NULL CHECK (length(from_hash) = 32),
    to_number        bigint NOT NULL,
    below_finalized  boolean NOT NULL,
    seen_at          timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX reorg_source ON indexer.reorg (network, layer, id);

-- Headers: all near the head, below `finalized` those with events and the ends of the ranges fetched.
CREATE TABLE indexer.block (
    network      text NOT NULL,
    layer        smallint NOT NULL CHECK (layer IN (1, 2)),
    hash         bytea NOT NULL CHECK (length(hash) = 32),
    number       bigint NOT NULL CHECK (number >= 0),
    parent       bytea NOT NULL CHECK (length(parent) = 32),
    time         timestamptz NOT NULL,
    -- The reorganisation that took it off the chain; absent while it is canonical.
    orphaned_by  bigint REFERENCES indexer.reorg,
    PRIMARY KEY (network, layer, hash)
);
CREATE UNIQUE INDEX block_canonical ON indexer.block (network, layer, number) WHERE orphaned_by IS NULL;

-- Logs of canonical blocks as they came, with what they mean.
CREATE TABLE indexer.log (
    network            text NOT NULL,
    layer              smallint NOT NULL CHECK (layer IN (1, 2)),
    number             bigint NOT NULL,
    log_index          integer NOT NULL,
    block_hash         bytea NOT NULL CHECK (length(block_hash) = 32),
    transaction_hash   bytea NOT NULL CHECK (length(transaction_hash) = 32),
    transaction_index  integer NOT NULL,
    transaction_from   bytea CHECK (length(transaction_from) = 20),
    address            bytea NOT NULL CHECK (length(address) = 20),
    topic0             bytea,
    topic1             bytea,
    topic2             bytea,
    topic3             bytea,
    data               bytea NOT NULL,
    -- Contract event name; Transfer for the METIS transfers that decide how much of a Relocked came from rewards.
    kind               text NOT NULL,
    sequencer_id       bigint,
    -- Owner or signer that the event is about.
    account            bytea CHECK (length(account) = 20),
    -- The message sequencer.indexer.v1.ChainEvent as it is sent; absent for logs that are only evidence.
    event              bytea,
    PRIMARY KEY (network, layer, number, log_index)
);
CREATE INDEX log_sequencer ON indexer.log (network, sequencer_id, layer, number, log_index) WHERE sequencer_id IS NOT NULL;
CREATE INDEX log_kind ON indexer.log (network, kind, layer, number, log_index);
CREATE INDEX log_transaction ON indexer.log (network, transaction_hash);

-- `sequencers(id)` of LockingPool after block `number` (P 1.7).
CREATE TABLE indexer.sequencer_record (
    network             text NOT NULL,
    sequencer_id        bigint NOT NULL,
    number              bigint NOT NULL,
    status              smallint NOT NULL CHECK (status BETWEEN 1 AND 3),
    owner               bytea NOT NULL CHECK (length(owner) = 20),
    signer              bytea NOT NULL CHECK (length(signer) = 20),
    pubkey              bytea NOT NULL,
    reward_recipient    bytea NOT NULL CHECK (length(reward_recipient) = 20),
    amount              numeric(78, 0) NOT NULL CHECK (amount >= 0),
    reward              numeric(78, 0) NOT NULL CHECK (reward >= 0),
    nonce               bigint NOT NULL,
    activation_batch    bigint NOT NULL,
    updated_batch       bigint NOT NULL,
    deactivation_batch  bigint NOT NULL,
    deactivation_time   bigint NOT NULL,
    unlock_claim_time   bigint NOT NULL,
    PRIMARY KEY (network, sequencer_id, number)
);
CREATE INDEX sequencer_record_owner ON indexer.sequencer_record (network, owner);

-- Every address that ever was a signer; none is used twice (P 1.10).
CREATE TABLE indexer.signer (
    network       text NOT NULL,
    signer        bytea NOT NULL CHECK (length(signer) = 20),
    sequencer_id  bigint NOT NULL,
    number        bigint NOT NULL,
    PRIMARY KEY (network, signer)
);

-- Every SetWhitelist.
CREATE TABLE indexer.whitelist (
    network           text NOT NULL,
    owner             bytea NOT NULL CHECK (length(owner) = 20),
    number            bigint NOT NULL,
    log_index         integer NOT NULL,
    block_hash        bytea NOT NULL,
    transaction_hash  bytea NOT NULL,
    whitelisted       boolean NOT NULL,
    PRIMARY KEY (network, owner, number, log_index)
);

-- Parameters and counters of the L1 contracts after block `number`.
CREATE TABLE indexer.parameters (
    network                   text NOT NULL,
    number                    bigint NOT NULL,
    min_lock                  numeric(78, 0) NOT NULL,
    max_lock                  numeric(78, 0) NOT NULL,
    total_locked              numeric(78, 0) NOT NULL,
    total_rewards_liquidated  numeric(78, 0) NOT NULL,
    reward_per_block          numeric(78, 0) NOT NULL,
    exit_delay_seconds        bigint NOT NULL,
    signer_update_throttle    bigint NOT NULL,
    -- curBatchState.
    batch_id                  bigint NOT NULL,
    batch_block               bigint NOT NULL,
    batch_start_epoch         bigint NOT NULL,
    batch_end_epoch           bigint NOT NULL,
    paused                    boolean NOT NULL,
    active_count              bigint NOT NULL,
    exiting_count             bigint NOT NULL,
    exited_count              bigint NOT NULL,
    reward_payer              bytea NOT NULL CHECK (length(reward_payer) = 20),
    mpc                       bytea NOT NULL CHECK (length(mpc) = 20),
    PRIMARY KEY (network, number)
);

-- Reward batches, and what each sequencer got of them.
CREATE TABLE indexer.batch (
    network           text NOT NULL,
    batch_id          bigint NOT NULL,
    number            bigint NOT NULL,
    log_index         integer NOT NULL,
    transaction_hash  bytea NOT NULL,
    start_epoch       bigint NOT NULL,
    end_epoch         bigint NOT NULL,
    amount            numeric(78, 0) NOT NULL,
    reward_per_block  numeric(78, 0) NOT NULL,
    -- CreditMethod of the wire: 1 calldata, 2 trace, 3 state difference, 4 unattributed.
    method            smallint NOT NULL CHECK (method BETWEEN 1 AND 4),
    PRIMARY KEY (network, batch_id)
);
CREATE TABLE indexer.credit (
    network       text NOT NULL,
    batch_id      bigint NOT NULL,
    sequencer_id  bigint NOT NULL,
    number        bigint NOT NULL,
    blocks        bigint NOT NULL,
    amount        numeric(78, 0) NOT NULL,
    PRIMARY KEY (network, batch_id, sequencer_id)
);

-- Epochs of MetisSequencerSet after L2 block `number`, re-spans applied (P 2.4).
CREATE TABLE indexer.epoch (
    network      text NOT NULL,
    epoch_id     bigint NOT NULL,
    number       bigint NOT NULL,
    signer       bytea NOT NULL CHECK (length(signer) = 20),
    start_block  bigint NOT NULL,
    end_block    bigint NOT NULL,
    respanned    boolean NOT NULL,
    PRIMARY KEY (network, epoch_id, number)
);
CREATE TABLE indexer.set_parameters (
    network       text NOT NULL,
    number        bigint NOT NULL,
    epoch_length  bigint NOT NULL,
    mpc           bytea NOT NULL CHECK (length(mpc) = 20),
    PRIMARY KEY (network, number)
);

-- What an unwind deletes, found without reading the rest.
CREATE INDEX sequencer_record_number ON indexer.sequencer_record (network, number);
CREATE INDEX signer_number ON indexer.signer (network, number);
CREATE INDEX whitelist_number ON indexer.whitelist (network, number);
CREATE INDEX batch_number ON indexer.batch (network, number);
CREATE INDEX credit_number ON indexer.credit (network, number);
CREATE INDEX epoch_number ON indexer.epoch (network, number);

-- The last comparison with the contracts themselves.
CREATE TABLE indexer.reconciliation (
    network           text PRIMARY KEY,
    number            bigint NOT NULL,
    hash              bytea NOT NULL CHECK (length(hash) = 32),
    time              timestamptz NOT NULL,
    drift             bigint NOT NULL CHECK (drift >= 0),
    first_difference  text NOT NULL,
    compared_at       timestamptz NOT NULL
);
