-- Approvals: by whom, of exactly what, until when. Changed by the functions below only.
CREATE TABLE keys.approval (
    id             text PRIMARY KEY,
    -- See policy::intent: network, chain, account, contract, highest value, calldata; or a policy, a thaw, a message.
    intent_digest  bytea NOT NULL CHECK (length(intent_digest) = 32),
    words          text NOT NULL,
    approver       text NOT NULL CHECK (approver <> ''),
    requester      text NOT NULL,
    approved_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    expires_at     timestamptz NOT NULL,
    revoked_at     timestamptz,
    -- The first use binds an approval to its nonce: the same call for a second nonce needs a second round.
    used_chain_id  bigint,
    used_account   bytea,
    used_nonce     bigint,
    used_sequence  bigint REFERENCES keys.audit_record (sequence),
    CHECK (approver <> requester),
    CHECK (revoked_at IS NULL OR expires_at <= revoked_at)
);
CREATE INDEX approval_digest ON keys.approval (intent_digest, expires_at);
CREATE INDEX approval_given ON keys.approval (approved_at, id);

-- Distinct identities, other than the caller, whose approval of this digest counts now. For a transaction, with
-- chain, account and nonce: those that were used for another nonce do not count, and those that were used for this one
-- count even when their time is over, since a higher fee for what was approved needs no new round; being taken back ends
-- them. Call it behind the lock on audit_head, where it must not change before the decision is written.
CREATE FUNCTION keys.approvers(_digest bytea, _caller text, _chain_id bigint, _account bytea, _nonce bigint)
RETURNS bigint
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT count(DISTINCT a.approver) FROM keys.approval AS a
     WHERE a.intent_digest = _digest AND a.approver <> _caller AND a.revoked_at IS NULL
       AND (a.used_sequence IS NULL
            OR (a.used_chain_id, a.used_account, a.used_nonce) IS NOT DISTINCT FROM (_chain_id, _account, _nonce))
       AND (a.expires_at > clock_timestamp() OR a.used_nonce IS NOT NULL);
$$;

-- Records what the approvals that counted were used for. The first use stays.
CREATE FUNCTION keys.use_approvals(
    _digest bytea, _caller text, _chain_id bigint, _account bytea, _nonce bigint, _sequence bigint)
RETURNS void
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    UPDATE keys.approval AS a
       SET used_chain_id = _chain_id, used_account = _account, used_nonce = _nonce, used_sequence = _sequence
     WHERE a.intent_digest = _digest AND a.approver <> _caller AND a.expires_at > clock_timestamp()
       AND a.used_sequence IS NULL;
$$;

CREATE FUNCTION keys.revoke_approval(_id text) RETURNS void
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    UPDATE keys.approval AS a SET revoked_at = n.at, expires_at = least(a.expires_at, n.at)
      FROM (SELECT clock_timestamp() AS at) AS n WHERE a.id = _id AND a.revoked_at IS NULL;
$$;

-- Labels whose keys sign nothing, one row for each freeze; the open one is in force.
CREATE TABLE keys.frozen_label (
    name      text NOT NULL CHECK (name <> ''),
    value     text NOT NULL,
    reason    text NOT NULL,
    frozen_by text NOT NULL,
    frozen_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    thawed_by text,
    thawed_at timestamptz,
    CHECK ((thawed_by IS NULL) = (thawed_at IS NULL)),
    PRIMARY KEY (name, value, frozen_at)
);
CREATE UNIQUE INDEX frozen_label_open ON keys.frozen_label (name, value) WHERE thawed_at IS NULL;

-- What an operator set for the key itself. `state` is what holds: FROZEN while one of its labels is frozen, so
-- that decisions have one place to look at.
ALTER TABLE keys.key ADD COLUMN own_state text;
UPDATE keys.key SET own_state = state;
ALTER TABLE keys.key ALTER COLUMN own_state SET NOT NULL;
ALTER TABLE keys.key ADD CONSTRAINT key_own_state CHECK (own_state IN ('ENABLED', 'DISABLED', 'FROZEN'));

CREATE FUNCTION keys.state_of_key(_own_state text, _labels jsonb) RETURNS text
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT CASE WHEN EXISTS (SELECT 1 FROM keys.frozen_label AS f
                              WHERE f.thawed_at IS NULL AND _labels ->> f.name = f.value)
                THEN 'FROZEN' ELSE _own_state END;
$$;

-- A key that comes while its label is being frozen waits for the end of that, and then is frozen too. The number
-- names this one lock.
CREATE FUNCTION keys.key_is_added() RETURNS trigger
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM pg_advisory_xact_lock_shared(4005001);
    NEW.own_state := NEW.state;
    NEW.state := keys.state_of_key(NEW.own_state, NEW.labels);
    RETURN NEW;
END
$$;
CREATE TRIGGER key_is_added BEFORE INSERT ON keys.key FOR EACH ROW EXECUTE FUNCTION keys.key_is_added();

CREATE OR REPLACE FUNCTION keys.set_key_state(_id text, _state text) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM pg_advisory_xact_lock_shared(4005001);
    UPDATE keys.key SET own_state = _state, state = keys.state_of_key(_state, labels) WHERE id = _id;
END
$$;

-- Freezes a label. Answers how many keys have it; NULL if it was frozen before.
CREATE FUNCTION keys.freeze_label(_name text, _value text, _reason text, _by text) RETURNS bigint
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    _keys bigint;
BEGIN
    PERFORM pg_advisory_xact_lock(4005001);
    INSERT INTO keys.frozen_label (name, value, reason, frozen_by) VALUES (_name, _value, _reason, _by)
        ON CONFLICT DO NOTHING;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    UPDATE keys.key SET state = 'FROZEN' WHERE labels ->> _name = _value;
    GET DIAGNOSTICS _keys = ROW_COUNT;
    RETURN _keys;
END
$$;

-- Lifts it. Keys that are frozen by themselves or by another label stay frozen. NULL if it was not frozen.
CREATE FUNCTION keys.thaw_label(_name text, _value text, _by text) RETURNS bigint
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    _keys bigint;
BEGIN
    PERFORM pg_advisory_xact_lock(4005001);
    UPDATE keys.frozen_label SET thawed_by = _by, thawed_at = clock_timestamp()
     WHERE name = _name AND value = _value AND thawed_at IS NULL;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    UPDATE keys.key SET state = keys.state_of_key(own_state, labels) WHERE labels ->> _name = _value;
    GET DIAGNOSTICS _keys = ROW_COUNT;
    RETURN _keys;
END
$$;

-- Decides about a message in one statement, as keys.decide does about a transaction, without a nonce to guard.
-- The record is the only trace: signing is deterministic, so a repetition gives the same signature.
CREATE FUNCTION keys.decide_message(
    _key_id text, _policy_version bigint, _digest bytea, _approvals bigint, _caller text,
    _fields bytea, _refused bytea, _as_allowed bytea, _as_not_enabled bytea, _as_approvals bytea,
    OUT outcome text, OUT audit_sequence bigint, OUT approvers bigint)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    _state text;
    _recorded record;
BEGIN
    PERFORM 1 FROM keys.audit_head FOR UPDATE;
    IF _policy_version IS DISTINCT FROM (SELECT max(p.version) FROM keys.policy AS p) THEN
        outcome := 'STALE';
        RETURN;
    END IF;
    SELECT k.state INTO _state FROM keys.key AS k WHERE k.id = _key_id;
    IF _approvals > 0 THEN
        approvers := keys.approvers(_digest, _caller, NULL, NULL, NULL);
    END IF;
    outcome := CASE
        WHEN _refused IS NOT NULL THEN 'REFUSED'
        WHEN _state IS DISTINCT FROM 'ENABLED' THEN 'NOT_ENABLED'
        WHEN approvers < _approvals THEN 'APPROVALS'
        ELSE 'ALLOWED' END;
    SELECT * INTO STRICT _recorded FROM keys.append_audit(_fields || CASE outcome
        WHEN 'REFUSED' THEN _refused WHEN 'NOT_ENABLED' THEN _as_not_enabled
        WHEN 'APPROVALS' THEN _as_approvals ELSE _as_allowed END);
    audit_sequence := _recorded.audit_sequence;
    IF outcome = 'ALLOWED' AND _approvals > 0 THEN
        PERFORM keys.use_approvals(_digest, _caller, NULL, NULL, NULL, audit_sequence);
    END IF;
END
$$;
