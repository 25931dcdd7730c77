//! The register of sequencers, what the chain says of each, and the history with its undo journal.

/// Applied by `seqd migrate`.
pub const SQL: &str = r#"
-- Every sequencer we know, managed or only observed. (owner, signer) is the identity by which its Locked event is
-- recognised: ids on chain are not stable before finality. Both stay as they were at the lock; what they are
-- now stands in position.
CREATE TABLE lifecycle.sequencer (
    id               uuid PRIMARY KEY,
    network          text NOT NULL,
    name             text NOT NULL,
    managed          boolean NOT NULL,
    owner            bytea NOT NULL CHECK (octet_length(owner) = 20),
    signer           bytea NOT NULL CHECK (octet_length(signer) = 20),
    signer_pubkey    bytea CHECK (octet_length(signer_pubkey) = 64),
    wanted_recipient bytea CHECK (octet_length(wanted_recipient) = 20),
    labels           jsonb NOT NULL DEFAULT '{}',
    listing          jsonb,
    version          bigint NOT NULL DEFAULT 1,
    create_time      timestamptz NOT NULL DEFAULT now(),
    UNIQUE (network, name),
    UNIQUE (network, owner, signer)
);
CREATE INDEX sequencer_labels ON lifecycle.sequencer USING gin (labels jsonb_path_ops);
CREATE INDEX sequencer_signer ON lifecycle.sequencer (network, signer);

-- Which key of the keys service stands behind an address.
CREATE TABLE lifecycle.account_key (
    address bytea PRIMARY KEY CHECK (octet_length(address) = 20),
    key_id  text NOT NULL
);

-- The projection: what the events up to the stream cursor add up to, one row for each sequencer.
CREATE TABLE lifecycle.position (
    sequencer       uuid PRIMARY KEY REFERENCES lifecycle.sequencer,
    network         text NOT NULL,
    phase           text NOT NULL CHECK (phase IN
                      ('REGISTERED', 'WHITELISTED', 'LOCKED', 'ACTIVE', 'EXITING', 'WITHDRAWABLE', 'WITHDRAWN')),
    seq_id          numeric(78,0),
    owner           bytea NOT NULL CHECK (octet_length(owner) = 20),
    signer          bytea NOT NULL CHECK (octet_length(signer) = 20),
    signer_pubkey   bytea CHECK (octet_length(signer_pubkey) = 64),
    recipient       bytea CHECK (octet_length(recipient) = 20),
    locked          numeric(78,0) NOT NULL DEFAULT 0 CHECK (locked >= 0),
    nonce           bigint NOT NULL DEFAULT 0,
    withdrawable_at timestamptz,
    -- What made it ACTIVE, where that was an L2 log: its block, so that an L2 revert can take it back.
    active_l2_block bigint,
    CONSTRAINT position_seq_id UNIQUE (network, seq_id) DEFERRABLE INITIALLY DEFERRED
);
CREATE INDEX position_owner ON lifecycle.position (network, owner);
CREATE INDEX position_signer ON lifecycle.position (network, signer);
ALTER TABLE lifecycle.position ADD CHECK (phase <> 'EXITING' OR withdrawable_at IS NOT NULL);
CREATE INDEX position_phase ON lifecycle.position (network, phase);

-- Conditions that are not states. Derived, so not journalled: made again at every look.
CREATE TABLE lifecycle.flag (
    sequencer uuid NOT NULL REFERENCES lifecycle.sequencer,
    name      text NOT NULL,
    reason    text NOT NULL,
    since     timestamptz NOT NULL,
    PRIMARY KEY (sequencer, name)
);

CREATE TABLE lifecycle.whitelist_entry (
    network     text NOT NULL,
    owner       bytea NOT NULL CHECK (octet_length(owner) = 20),
    whitelisted boolean NOT NULL,
    PRIMARY KEY (network, owner)
);

-- The first epoch in which a signer was seen producing on L2.
CREATE TABLE lifecycle.producer (
    network          text NOT NULL,
    signer           bytea NOT NULL CHECK (octet_length(signer) = 20),
    epoch            bigint NOT NULL,
    block_number     bigint NOT NULL,
    block_hash       bytea NOT NULL CHECK (octet_length(block_hash) = 32),
    block_time       timestamptz NOT NULL,
    transaction_hash bytea NOT NULL CHECK (octet_length(transaction_hash) = 32),
    log_index        integer NOT NULL,
    PRIMARY KEY (network, signer)
);

-- How far the indexer's stream has been applied, and the head it told last.
CREATE TABLE lifecycle.stream_cursor (
    network      text PRIMARY KEY,
    cursor       text NOT NULL DEFAULT '',
    block_number bigint,
    block_hash   bytea CHECK (octet_length(block_hash) = 32),
    block_time   timestamptz,
    safe         bigint NOT NULL DEFAULT 0,
    finalized    bigint NOT NULL DEFAULT 0,
    update_time  timestamptz NOT NULL DEFAULT now()
);

-- Before-images of journalled rows (position, whitelist_entry) by the L1 block that changed them. A revert restores
-- them newest first. `before` is null where the row did not exist.
CREATE TABLE lifecycle.undo (
    ordinal      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    network      text NOT NULL,
    block_number bigint NOT NULL,
    subject      text NOT NULL CHECK (subject IN ('position', 'whitelist_entry')),
    key          text NOT NULL,
    before       jsonb
);
CREATE INDEX undo_block ON lifecycle.undo (network, block_number);

-- The one counter of history. Its row lock makes positions appear in the order of commit, so that a watcher that
-- has seen position n has seen every one below it.
CREATE TABLE lifecycle.history_counter (
    one      boolean PRIMARY KEY DEFAULT true CHECK (one),
    position bigint NOT NULL
);
INSERT INTO lifecycle.history_counter (position) VALUES (0);

-- State changes. Append-only: what a reorganisation takes back gets a row in transition_undo.
CREATE TABLE lifecycle.transition (
    position         bigint PRIMARY KEY,
    sequencer        uuid NOT NULL REFERENCES lifecycle.sequencer,
    network          text NOT NULL,
    -- Null at the first appearance.
    from_phase       text,
    to_phase         text NOT NULL CHECK (to_phase IN
                       ('REGISTERED', 'WHITELISTED', 'LOCKED', 'ACTIVE', 'EXITING', 'WITHDRAWABLE', 'WITHDRAWN')),
    cause            text NOT NULL,
    block_number     bigint NOT NULL,
    -- Null for a registration, which no reorganisation takes back.
    block_hash       bytea CHECK (octet_length(block_hash) = 32),
    block_time       timestamptz NOT NULL,
    log_layer        smallint CHECK (log_layer IN (1, 2)),
    log_block_number bigint,
    log_block_hash   bytea CHECK (octet_length(log_block_hash) = 32),
    log_block_time   timestamptz,
    log_transaction  bytea CHECK (octet_length(log_transaction) = 32),
    log_index        integer,
    record_time      timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX transition_sequencer ON lifecycle.transition (sequencer, position);
CREATE INDEX transition_block ON lifecycle.transition (network, block_number);

CREATE TABLE lifecycle.transition_undo (
    position    bigint PRIMARY KEY,
    transition  bigint NOT NULL UNIQUE REFERENCES lifecycle.transition,
    network     text NOT NULL,
    record_time timestamptz NOT NULL DEFAULT now()
);
"#;
