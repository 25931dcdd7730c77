-- The index in the shape that backfill at full speed needs. A log keeps what the chain says and no more: its block and
-- transaction stand once in tables of their own, and the message for consumers is made when it is read. The indexer must
-- be stopped for this migration. What is indexed stays, and is then fetched again in the background for what is new.

-- Transactions with logs of ours.
CREATE TABLE indexer.transaction (
    network            text COLLATE "C" NOT NULL,
    layer              smallint NOT NULL CHECK (layer IN (1, 2)),
    number             bigint NOT NULL,
    transaction_index  integer NOT NULL,
    hash               bytea NOT NULL CHECK (length(hash) = 32),
    -- Known where the transaction itself was fetched: for reward batches.
    sender             bytea CHECK (length(sender) = 20),
    PRIMARY KEY (network, layer, number, transaction_index)
);
INSERT INTO indexer.transaction (network, layer, number, transaction_index, hash)
SELECT DISTINCT network, layer, number, transaction_index, transaction_hash FROM indexer.log;
CREATE INDEX transaction_hash ON indexer.transaction (network, hash);

-- Of a Relocked: the part that came from unclaimed reward, which no log says (P 1.13).
ALTER TABLE indexer.log ADD COLUMN from_reward numeric(78, 0) CHECK (from_reward >= 0);
DROP INDEX indexer.log_transaction;
DROP INDEX indexer.log_kind;
ALTER TABLE indexer.log
    DROP COLUMN block_hash,
    DROP COLUMN transaction_hash,
    DROP COLUMN transaction_from,
    DROP COLUMN account,
    DROP COLUMN event,
    ALTER COLUMN network TYPE text COLLATE "C",
    ALTER COLUMN kind TYPE text COLLATE "C";
-- Transfers are evidence for other logs and never listed.
CREATE INDEX log_kind ON indexer.log (network, kind, layer, number, log_index) WHERE kind <> 'Transfer';

-- Headers of canonical blocks only: a cursor finds its way back by the reorganisations since. Below `finalized` a header is
-- fetched only where the logs do not tell the time, and its parent is not needed there.
DELETE FROM indexer.block WHERE orphaned_by IS NOT NULL;
DROP INDEX indexer.block_canonical;
ALTER TABLE indexer.block DROP CONSTRAINT block_pkey;
ALTER TABLE indexer.block
    ALTER COLUMN network TYPE text COLLATE "C",
    ALTER COLUMN parent DROP NOT NULL,
    DROP COLUMN orphaned_by,
    -- Of a final block with logs: SHA-256 over the digest of the final block with logs before it, its own hash, and its logs.
    ADD COLUMN digest bytea CHECK (length(digest) = 32),
    ADD PRIMARY KEY (network, layer, number);
CREATE INDEX block_digest ON indexer.block (network, layer, number) WHERE digest IS NOT NULL;

-- Why blocks were taken back: 1 the chain changed, 2 logs had been missing, 3 an operator asked for it.
ALTER TABLE indexer.reorg ADD COLUMN cause smallint NOT NULL DEFAULT 1 CHECK (cause BETWEEN 1 AND 3);
-- An operator has seen what a reorganisation below `finalized` did.
CREATE TABLE indexer.reorg_acknowledgement (
    reorg_id         bigint PRIMARY KEY REFERENCES indexer.reorg,
    acknowledged_by  text NOT NULL,
    acknowledged_at  timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- Backfill as it goes: blocks in a second, 0 when there is none.
ALTER TABLE indexer.checkpoint
    ADD COLUMN blocks_per_second bigint NOT NULL DEFAULT 0,
    -- The last block up to which digests stand.
    ADD COLUMN digested bigint NOT NULL DEFAULT -1;

-- Chains to be fetched again from a block on.
CREATE TABLE indexer.resync (
    network       text NOT NULL,
    layer         smallint NOT NULL CHECK (layer IN (1, 2)),
    from_number   bigint NOT NULL,
    requested_by  text NOT NULL,
    requested_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (network, layer)
);
INSERT INTO indexer.resync (network, layer, from_number, requested_by)
SELECT network, layer, start_block, 'migration' FROM indexer.checkpoint WHERE number IS NOT NULL;

-- Turns that a producer lost by a re-span (P 2.5).
CREATE TABLE indexer.missed_turn (
    network      text NOT NULL,
    number       bigint NOT NULL,
    log_index    integer NOT NULL,
    epoch_id     bigint NOT NULL,
    signer       bytea NOT NULL CHECK (length(signer) = 20),
    blocks_lost  bigint NOT NULL CHECK (blocks_lost >= 0),
    overwritten  boolean NOT NULL,
    by_signer    bytea NOT NULL CHECK (length(by_signer) = 20),
    PRIMARY KEY (network, number, log_index, epoch_id)
);
CREATE INDEX missed_turn_signer ON indexer.missed_turn (network, signer, number);

-- Implementations behind the pool's proxy, by the block from which each stood there (P 1.11).
CREATE TABLE indexer.implementation (
    network   text NOT NULL,
    number    bigint NOT NULL,
    address   bytea NOT NULL CHECK (length(address) = 20),
    PRIMARY KEY (network, number)
);

-- The last comparison that found no difference.
ALTER TABLE indexer.reconciliation
    ADD COLUMN verified_number bigint,
    ADD COLUMN verified_hash bytea CHECK (length(verified_hash) = 32),
    ADD COLUMN verified_time timestamptz;
