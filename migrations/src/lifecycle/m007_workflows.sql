-- Terms and approvals of operations, fleet operations, schedules.

ALTER TABLE lifecycle.operation
    ADD COLUMN not_before         timestamptz,
    ADD COLUMN deadline           timestamptz,
    -- Claim and unlock: set first where the contract has none, as a step of the operation.
    ADD COLUMN recipient_if_unset bytea CHECK (octet_length(recipient_if_unset) = 20),
    -- What the rules asked for when it was taken in: [{needed, approvers}].
    ADD COLUMN requirements       jsonb NOT NULL DEFAULT '[]',
    ADD COLUMN approve_by         timestamptz,
    -- fleet/<id> or schedule/<id>; empty for a caller.
    ADD COLUMN origin             text NOT NULL DEFAULT '',
    ADD CHECK (deadline IS NULL OR not_before IS NULL OR deadline > not_before);

-- What waits for approvals or its time does not keep other operations of its sequencer out, and is no lane's business.
-- Until now nothing could be in these two states. A generated column cannot be changed in place before PostgreSQL 17;
-- its indexes go with it and are made again under the same predicates, which statements name in ON CONFLICT.
ALTER TABLE lifecycle.operation DROP COLUMN open;
ALTER TABLE lifecycle.operation ADD COLUMN open boolean NOT NULL
    GENERATED ALWAYS AS (state IN ('QUEUED', 'SIGNING', 'BROADCAST', 'MINED')) STORED;
CREATE INDEX operation_open ON lifecycle.operation (network, account, id) WHERE open;
CREATE UNIQUE INDEX operation_in_flight ON lifecycle.operation (sequencer)
    WHERE mode = 'MANAGED' AND open AND NOT reopened;

-- What the agenda looks at.
CREATE INDEX operation_waiting ON lifecycle.operation (network, id) WHERE state IN ('PENDING_APPROVAL', 'SCHEDULED');
CREATE INDEX operation_deadline ON lifecycle.operation (network, deadline)
    WHERE deadline IS NOT NULL AND state IN ('QUEUED', 'SIGNING', 'MINED');
-- Members of fleets and runs of schedules find their operation by the request id that is made from them.
CREATE INDEX operation_request ON lifecycle.operation (request_id);

-- Who said yes or no to which content. The subject is an operation or a fleet operation. Append-only.
CREATE TABLE lifecycle.approval (
    subject     uuid NOT NULL,
    identity    text NOT NULL,
    approved    boolean NOT NULL,
    digest      bytea NOT NULL CHECK (octet_length(digest) = 32),
    reason      text NOT NULL,
    time        timestamptz NOT NULL,
    expire_time timestamptz NOT NULL,
    PRIMARY KEY (subject, identity, time)
);

CREATE TABLE lifecycle.fleet (
    id           uuid PRIMARY KEY,
    network      text NOT NULL,
    -- The protobuf bytes of FleetSpec with its defaults filled in.
    spec         bytea NOT NULL,
    kind         text NOT NULL,
    digest       bytea NOT NULL CHECK (octet_length(digest) = 32),
    state        text NOT NULL CHECK (state IN
                   ('PENDING_APPROVAL', 'RUNNING', 'PAUSED', 'DONE', 'FAILED', 'CANCELLED', 'EXPIRED')),
    reason       text NOT NULL,
    reason_code  text NOT NULL DEFAULT '',
    caller       text NOT NULL,
    requirements jsonb NOT NULL DEFAULT '[]',
    approve_by   timestamptz,
    fee_budget   numeric(78,0) CHECK (fee_budget >= 0),
    -- When the last member began.
    begun_time   timestamptz,
    create_time  timestamptz NOT NULL DEFAULT now(),
    update_time  timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX fleet_network ON lifecycle.fleet (network, id);
CREATE INDEX fleet_unfinished ON lifecycle.fleet (network, id) WHERE state IN ('PENDING_APPROVAL', 'RUNNING');

-- A member has an operation as soon as one with its request id exists: nothing else tells that it began.
CREATE TABLE lifecycle.fleet_member (
    fleet       uuid NOT NULL REFERENCES lifecycle.fleet,
    place       integer NOT NULL CHECK (place >= 0),
    sequencer   uuid NOT NULL REFERENCES lifecycle.sequencer,
    name        text NOT NULL,
    state       text NOT NULL CHECK (state IN ('SKIPPED', 'PLANNED', 'REFUSED', 'NOT_BEGUN')),
    reason      text NOT NULL,
    reason_code text NOT NULL DEFAULT '',
    request_id  uuid NOT NULL UNIQUE,
    fee_max     numeric(78,0) NOT NULL CHECK (fee_max >= 0),
    -- From receipts, once its operation is final.
    spent       numeric(78,0) CHECK (spent >= 0),
    PRIMARY KEY (fleet, place),
    UNIQUE (fleet, sequencer)
);

CREATE TABLE lifecycle.schedule (
    id             uuid PRIMARY KEY,
    network        text NOT NULL,
    sequencer      uuid NOT NULL REFERENCES lifecycle.sequencer,
    -- The protobuf bytes of ScheduleRule.
    rule           bytea NOT NULL,
    state          text NOT NULL CHECK (state IN ('ACTIVE', 'PAUSED', 'FINISHED', 'DELETED')),
    -- Chain times: where the grid of its looks begins, and when it looks next.
    first_look     timestamptz NOT NULL,
    next_look      timestamptz NOT NULL,
    last_decision  text NOT NULL DEFAULT '',
    last_time      timestamptz,
    last_operation uuid,
    caller         text NOT NULL,
    version        bigint NOT NULL DEFAULT 1,
    create_time    timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX schedule_network ON lifecycle.schedule (network, id);
CREATE INDEX schedule_due ON lifecycle.schedule (network, next_look) WHERE state = 'ACTIVE';

-- Looks that are settled, each once. Append-only.
CREATE TABLE lifecycle.schedule_run (
    ordinal   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    schedule  uuid NOT NULL REFERENCES lifecycle.schedule,
    slot      timestamptz NOT NULL,
    decided   timestamptz NOT NULL,
    decision  text NOT NULL CHECK (decision IN ('DONE', 'NOT_NOW', 'OVER')),
    reason    text NOT NULL,
    operation uuid,
    UNIQUE (schedule, slot)
);
CREATE INDEX schedule_run_newest ON lifecycle.schedule_run (schedule, ordinal);
