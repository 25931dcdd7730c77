//! Operations, their history, their transactions with every signed form, and the lanes that hand out nonces.

/// Applied by `seqd migrate`.
pub const SQL: &str = r#"
CREATE TABLE lifecycle.operation (
    id          uuid PRIMARY KEY,
    request_id  uuid NOT NULL,
    network     text NOT NULL,
    sequencer   uuid NOT NULL REFERENCES lifecycle.sequencer,
    kind        text NOT NULL CHECK (kind IN ('lock', 'increase', 'withdraw', 'claim', 'set_recipient', 'set_owner',
                  'rotate_signer', 'unlock', 'withdraw_final')),
    -- The protobuf bytes of OperationParameters as they were asked.
    parameters  bytea NOT NULL,
    mode        text NOT NULL CHECK (mode IN ('MANAGED', 'PREPARED')),
    state       text NOT NULL CHECK (state IN ('PENDING_APPROVAL', 'SCHEDULED', 'QUEUED', 'SIGNING', 'BROADCAST', 'MINED',
                  'CONFIRMED', 'FAILED', 'CANCELLED', 'EXPIRED')),
    -- Neither CONFIRMED, FAILED, CANCELLED nor EXPIRED: what the loops look at.
    open        boolean NOT NULL GENERATED ALWAYS AS (state IN
                  ('PENDING_APPROVAL', 'SCHEDULED', 'QUEUED', 'SIGNING', 'BROADCAST', 'MINED')) STORED,
    -- Came back from a final state by a reorganisation, perhaps beside a newer operation.
    reopened    boolean NOT NULL DEFAULT false,
    reason      text NOT NULL DEFAULT '',
    reason_code text NOT NULL DEFAULT '',
    words       text NOT NULL,
    caller      text NOT NULL,
    chain_id    bigint NOT NULL,
    -- Who sends: the owner, or the signer for a rotation.
    account     bytea NOT NULL CHECK (octet_length(account) = 20),
    key_id      text,
    create_time timestamptz NOT NULL DEFAULT now(),
    update_time timestamptz NOT NULL DEFAULT now(),
    expire_time timestamptz,
    CHECK (mode <> 'MANAGED' OR key_id IS NOT NULL)
);
CREATE INDEX operation_sequencer ON lifecycle.operation (sequencer, id);
CREATE INDEX operation_network ON lifecycle.operation (network, id);
CREATE INDEX operation_open ON lifecycle.operation (network, account, id) WHERE open;
-- One unfinished operation of ours for a sequencer at a time; the check in preflight only explains it. Prepared ones
-- do not count: whoever may prepare could otherwise keep an operator out.
CREATE UNIQUE INDEX operation_in_flight ON lifecycle.operation (sequencer)
    WHERE mode = 'MANAGED' AND open AND NOT reopened;

-- Every state an operation entered, with its reason. Append-only.
CREATE TABLE lifecycle.operation_step (
    ordinal   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    operation uuid NOT NULL REFERENCES lifecycle.operation,
    state     text NOT NULL,
    reason    text NOT NULL,
    time      timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX operation_step_operation ON lifecycle.operation_step (operation, ordinal);

-- Next nonce of an account on a chain. A row lock on it serialises allocation; the fencing epoch of the lease
-- "lane/<chain>/<account>" is checked in the same transaction.
CREATE TABLE lifecycle.lane (
    chain_id   bigint NOT NULL,
    account    bytea NOT NULL CHECK (octet_length(account) = 20),
    next_nonce bigint NOT NULL CHECK (next_nonce >= 0),
    PRIMARY KEY (chain_id, account)
);

-- The calls of an operation. One row is one nonce for ever; fee replacements are further attempts of the same row.
CREATE TABLE lifecycle.transaction (
    id             uuid PRIMARY KEY,
    operation      uuid NOT NULL REFERENCES lifecycle.operation,
    step           smallint NOT NULL CHECK (step >= 0),
    step_name      text NOT NULL,
    chain_id       bigint NOT NULL,
    account        bytea NOT NULL CHECK (octet_length(account) = 20),
    nonce          bigint CHECK (nonce >= 0),
    target         bytea NOT NULL CHECK (octet_length(target) = 20),
    value          numeric(78,0) NOT NULL CHECK (value >= 0),
    data           bytea NOT NULL,
    gas_limit      bigint NOT NULL CHECK (gas_limit > 0),
    -- What the next attempt is to be signed with; of the last attempt once there is one.
    max_fee        numeric(78,0) NOT NULL CHECK (max_fee >= 0),
    max_priority   numeric(78,0) NOT NULL CHECK (max_priority >= 0),
    words          text NOT NULL,
    state          text NOT NULL CHECK (state IN
                     ('PLANNED', 'SIGNED', 'BROADCAST', 'MINED', 'CONFIRMED', 'REVERTED', 'DROPPED', 'FOREIGN')),
    hash           bytea CHECK (octet_length(hash) = 32),
    receipt_block  bigint,
    receipt_hash   bytea CHECK (octet_length(receipt_hash) = 32),
    receipt_time   timestamptz,
    receipt_status smallint CHECK (receipt_status IN (0, 1)),
    -- Its block is final: nobody looks at it again.
    finalized      boolean NOT NULL DEFAULT false,
    last_answer    text NOT NULL DEFAULT '',
    broadcast_block bigint,
    create_time    timestamptz NOT NULL DEFAULT now(),
    UNIQUE (operation, step),
    CHECK (state = 'PLANNED' OR state = 'DROPPED' OR nonce IS NOT NULL),
    CHECK (receipt_block IS NULL OR receipt_hash IS NOT NULL)
);
CREATE UNIQUE INDEX transaction_nonce ON lifecycle.transaction (chain_id, account, nonce) WHERE nonce IS NOT NULL;
CREATE INDEX transaction_followed ON lifecycle.transaction (chain_id, account) WHERE NOT finalized;

-- Every signed form of a transaction, stored before it was sent. Append-only: each of these hashes may be mined.
-- `raw` is null where a wallet told only the hash.
CREATE TABLE lifecycle.attempt (
    ordinal      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    transaction  uuid NOT NULL REFERENCES lifecycle.transaction,
    hash         bytea NOT NULL UNIQUE CHECK (octet_length(hash) = 32),
    raw          bytea,
    max_fee      numeric(78,0) NOT NULL,
    max_priority numeric(78,0) NOT NULL,
    signed_time  timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX attempt_transaction ON lifecycle.attempt (transaction, ordinal);
"#;
