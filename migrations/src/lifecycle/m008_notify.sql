-- What happened, for webhooks: written by triggers, so that whatever changes a state tells of it in the same transaction
-- and nobody can forget to. The delivery loop gives each its position afterwards, in the order in which they became
-- visible: a counter taken in the transactions themselves would make all of them wait for each other.
CREATE TABLE lifecycle.notification (
    ordinal   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    -- The same on every attempt and in every replay: receivers recognise by it what they have had.
    id        uuid NOT NULL DEFAULT gen_random_uuid() UNIQUE,
    position  bigint UNIQUE,
    type      text NOT NULL,
    network   text NOT NULL,
    data      jsonb NOT NULL,
    time      timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- A test of one webhook; null for what is told to all.
    only_for  uuid
);
CREATE INDEX notification_unnumbered ON lifecycle.notification (ordinal) WHERE position IS NULL;
CREATE INDEX notification_time ON lifecycle.notification (time);

-- The last position given. Positions are never used again, also when what had them is removed.
CREATE TABLE lifecycle.notification_feed (
    one      boolean PRIMARY KEY DEFAULT true CHECK (one),
    position bigint NOT NULL
);
INSERT INTO lifecycle.notification_feed (position) VALUES (0);

CREATE TABLE lifecycle.webhook (
    id              uuid PRIMARY KEY,
    url             text NOT NULL,
    description     text NOT NULL,
    -- Empty for all types.
    types           text[] NOT NULL,
    -- Null for all networks.
    network         text,
    enabled         boolean NOT NULL DEFAULT true,
    disabled_reason text NOT NULL DEFAULT '',
    -- Up to here the feed has been made deliveries of.
    position        bigint NOT NULL CHECK (position >= 0),
    -- The endpoint asked for rest until then.
    resume_time     timestamptz,
    version         bigint NOT NULL DEFAULT 1,
    caller          text NOT NULL,
    create_time     timestamptz NOT NULL DEFAULT now()
);

-- Sealed under the key of the configuration (notify::seal): a dump of this table carries no usable secret.
CREATE TABLE lifecycle.webhook_secret (
    webhook     uuid NOT NULL REFERENCES lifecycle.webhook ON DELETE CASCADE,
    generation  integer NOT NULL CHECK (generation > 0),
    sealed      bytea NOT NULL,
    create_time timestamptz NOT NULL DEFAULT now(),
    -- Null for the newest one.
    expire_time timestamptz,
    PRIMARY KEY (webhook, generation)
);

CREATE TABLE lifecycle.delivery (
    id                uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    webhook           uuid NOT NULL REFERENCES lifecycle.webhook ON DELETE CASCADE,
    notification      bigint NOT NULL REFERENCES lifecycle.notification ON DELETE CASCADE,
    position          bigint NOT NULL,
    state             text NOT NULL DEFAULT 'PENDING' CHECK (state IN ('PENDING', 'DELIVERED', 'DEAD')),
    -- Since it was asked for last: a replay begins again.
    attempts          integer NOT NULL DEFAULT 0 CHECK (attempts >= 0),
    next_attempt_time timestamptz NOT NULL DEFAULT clock_timestamp(),
    last_attempt_time timestamptz,
    last_status       integer,
    last_error        text NOT NULL DEFAULT '',
    create_time       timestamptz NOT NULL DEFAULT clock_timestamp(),
    UNIQUE (webhook, notification)
);
CREATE INDEX delivery_pending ON lifecycle.delivery (webhook, position) WHERE state = 'PENDING';
CREATE INDEX delivery_state ON lifecycle.delivery (webhook, state, position);
CREATE INDEX delivery_notification ON lifecycle.delivery (notification);

CREATE FUNCTION lifecycle.notify_transition() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO lifecycle.notification (type, network, data)
    SELECT 'sequencer.transition', t.network, jsonb_build_object(
               'transition', t.position, 'sequencer', t.sequencer, 'sequencerName', s.name,
               'from', t.from_phase, 'to', t.to_phase, 'cause', t.cause,
               'blockNumber', t.block_number, 'blockHash', '0x' || encode(t.block_hash, 'hex'),
               'blockTime', t.block_time,
               'transactionHash', '0x' || encode(t.log_transaction, 'hex'), 'logIndex', t.log_index)
      FROM added t JOIN lifecycle.sequencer s ON s.id = t.sequencer
     ORDER BY t.position;
    RETURN NULL;
END $$;
CREATE TRIGGER transition_notifies AFTER INSERT ON lifecycle.transition
    REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION lifecycle.notify_transition();

CREATE FUNCTION lifecycle.notify_undo() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO lifecycle.notification (type, network, data)
    SELECT 'sequencer.transition_undone', t.network, jsonb_build_object(
               'transition', t.position, 'sequencer', t.sequencer, 'sequencerName', s.name,
               'from', t.to_phase, 'to', t.from_phase, 'cause', 'a reorganisation took back: ' || t.cause,
               'blockNumber', t.block_number, 'blockHash', '0x' || encode(t.block_hash, 'hex'))
      FROM added u JOIN lifecycle.transition t ON t.position = u.transition
      JOIN lifecycle.sequencer s ON s.id = t.sequencer
     ORDER BY u.position;
    RETURN NULL;
END $$;
CREATE TRIGGER transition_undo_notifies AFTER INSERT ON lifecycle.transition_undo
    REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION lifecycle.notify_undo();

-- A step that only has another reason is progress, not a state.
CREATE FUNCTION lifecycle.notify_step() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO lifecycle.notification (type, network, data)
    SELECT CASE WHEN n.state = (SELECT p.state FROM lifecycle.operation_step p
                                 WHERE p.operation = n.operation AND p.ordinal < n.ordinal
                                 ORDER BY p.ordinal DESC LIMIT 1)
                THEN 'operation.progress' ELSE 'operation.state' END,
           o.network, jsonb_build_object(
               'operation', o.id, 'sequencer', o.sequencer, 'sequencerName', s.name, 'kind', o.kind,
               'mode', o.mode, 'words', o.words, 'state', n.state, 'reason', n.reason,
               'reasonCode', CASE WHEN o.state = n.state THEN o.reason_code ELSE '' END)
      FROM added n JOIN lifecycle.operation o ON o.id = n.operation
      JOIN lifecycle.sequencer s ON s.id = o.sequencer
     ORDER BY n.ordinal;
    RETURN NULL;
END $$;
CREATE TRIGGER operation_step_notifies AFTER INSERT ON lifecycle.operation_step
    REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION lifecycle.notify_step();

CREATE FUNCTION lifecycle.notify_flag() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    flag lifecycle.flag;
BEGIN
    IF TG_OP = 'DELETE' THEN flag := OLD; ELSE flag := NEW; END IF;
    INSERT INTO lifecycle.notification (type, network, data)
    SELECT CASE TG_OP WHEN 'DELETE' THEN 'alert.cleared' ELSE 'alert.raised' END, s.network,
           jsonb_build_object('alert', flag.name, 'reason', flag.reason, 'since', flag.since,
                              'sequencer', s.id, 'sequencerName', s.name)
      FROM lifecycle.sequencer s WHERE s.id = flag.sequencer;
    RETURN NULL;
END $$;
CREATE TRIGGER flag_notifies AFTER INSERT OR DELETE ON lifecycle.flag
    FOR EACH ROW EXECUTE FUNCTION lifecycle.notify_flag();

CREATE FUNCTION lifecycle.notify_hold() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO lifecycle.notification (type, network, data)
    VALUES (CASE WHEN NEW.held_l1 IS NULL AND NEW.held_l2 IS NULL THEN 'network.released' ELSE 'network.held' END,
            NEW.network, jsonb_build_object('blockNumber', NEW.block_number, 'finalized', NEW.finalized));
    RETURN NULL;
END $$;
CREATE TRIGGER hold_notifies AFTER UPDATE ON lifecycle.stream_cursor FOR EACH ROW
    WHEN ((OLD.held_l1 IS NULL AND OLD.held_l2 IS NULL) <> (NEW.held_l1 IS NULL AND NEW.held_l2 IS NULL))
    EXECUTE FUNCTION lifecycle.notify_hold();
