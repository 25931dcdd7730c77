-- What may be signed for a nonce: the call that was signed first, and the highest fees. Never deleted.
CREATE TABLE keys.nonce_guard (
    chain_id         bigint NOT NULL CHECK (chain_id > 0),
    account          bytea NOT NULL CHECK (length(account) = 20),
    nonce            bigint NOT NULL CHECK (nonce >= 0),
    -- SHA-256 over target, value and calldata.
    digest           bytea NOT NULL CHECK (length(digest) = 32),
    max_fee_wei      numeric(78,0) NOT NULL,
    priority_fee_wei numeric(78,0) NOT NULL,
    gas_limit        bigint NOT NULL,
    -- After a cancel only the cancel may be raised.
    cancelled        boolean NOT NULL,
    forms            integer NOT NULL CHECK (forms > 0),
    updated_at       timestamptz NOT NULL,
    UNIQUE (chain_id, account, nonce)
);

-- Every payload that was ever released for signing.
CREATE TABLE keys.signed_form (
    chain_id         bigint NOT NULL,
    account          bytea NOT NULL,
    nonce            bigint NOT NULL,
    form             integer NOT NULL,
    key_id           text NOT NULL REFERENCES keys.key (id),
    digest           bytea NOT NULL,
    signing_hash     bytea NOT NULL CHECK (length(signing_hash) = 32),
    max_fee_wei      numeric(78,0) NOT NULL,
    priority_fee_wei numeric(78,0) NOT NULL,
    gas_limit        bigint NOT NULL,
    -- METIS that this form charges to the 24 h window; a replacement charges nothing again.
    metis_wei        numeric(78,0) NOT NULL,
    audit_sequence   bigint NOT NULL REFERENCES keys.audit_record (sequence),
    signed_at        timestamptz NOT NULL,
    PRIMARY KEY (chain_id, account, nonce, form),
    UNIQUE (chain_id, account, nonce, signing_hash),
    FOREIGN KEY (chain_id, account, nonce) REFERENCES keys.nonce_guard (chain_id, account, nonce)
);
CREATE INDEX signed_form_window ON keys.signed_form (chain_id, account, signed_at) WHERE metis_wei > 0;

-- Decides about one transaction in one statement: policy version, key state, conflict guard, METIS window and
-- audit record, all durable together before the key is touched.
--
-- `_refused` is the verdict of the policy where it said no, else NULL. The `_as_…` arguments are the encoded
-- verdict and rule fields for each outcome; the one that happens goes into the record.
-- Outcomes: ALLOWED, REPEATED (that very payload was released before), REFUSED, NOT_ENABLED, CONFLICT, WINDOW,
-- and STALE: the policy has another version by now, nothing was recorded, evaluate again.
CREATE FUNCTION keys.decide(
    _key_id text, _policy_version bigint,
    _chain_id bigint, _account bytea, _nonce bigint, _digest bytea, _signing_hash bytea,
    _max_fee numeric, _priority_fee numeric, _gas_limit bigint,
    _intent text, _metis numeric, _metis_24h_max numeric,
    _fields bytea, _refused bytea, _as_allowed bytea, _as_not_enabled bytea, _as_conflict bytea, _as_window bytea,
    OUT outcome text, OUT audit_sequence bigint, OUT metis_used numeric,
    OUT held_digest bytea, OUT held_max_fee numeric, OUT held_priority_fee numeric)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    _held keys.nonce_guard;
    _state text;
    _recorded record;
    _charge numeric := 0;
    _higher boolean;
BEGIN
    -- From here on this is the only decision under way; each query below sees all earlier ones.
    PERFORM 1 FROM keys.audit_head FOR UPDATE;
    IF _policy_version IS DISTINCT FROM (SELECT max(p.version) FROM keys.policy AS p) THEN
        outcome := 'STALE';
        RETURN;
    END IF;

    SELECT k.state INTO _state FROM keys.key AS k WHERE k.id = _key_id AND k.address = _account;
    SELECT g.* INTO _held FROM keys.nonce_guard AS g
     WHERE g.chain_id = _chain_id AND g.account = _account AND g.nonce = _nonce;
    held_digest := _held.digest;
    held_max_fee := _held.max_fee_wei;
    held_priority_fee := _held.priority_fee_wei;
    _higher := _max_fee > _held.max_fee_wei AND _priority_fee > _held.priority_fee_wei;

    IF _refused IS NOT NULL THEN
        outcome := 'REFUSED';
    ELSIF _state IS DISTINCT FROM 'ENABLED' THEN
        outcome := 'NOT_ENABLED';
    ELSIF EXISTS (SELECT 1 FROM keys.signed_form AS f WHERE f.chain_id = _chain_id AND f.account = _account
                     AND f.nonce = _nonce AND f.signing_hash = _signing_hash) THEN
        outcome := 'REPEATED';
    ELSIF _held.nonce IS NULL THEN
        -- A replacement of nothing means that this database has lost what was replaced.
        outcome := CASE WHEN _intent = 'REPLACE' THEN 'CONFLICT' ELSE 'ALLOWED' END;
        _charge := _metis;
    ELSIF _digest = _held.digest THEN
        outcome := CASE WHEN _intent <> 'NEW' AND _higher AND _gas_limit >= _held.gas_limit
                        THEN 'ALLOWED' ELSE 'CONFLICT' END;
    ELSE
        outcome := CASE WHEN _intent = 'CANCEL' AND _higher AND NOT _held.cancelled
                        THEN 'ALLOWED' ELSE 'CONFLICT' END;
    END IF;

    IF outcome = 'ALLOWED' AND _charge > 0 AND _metis_24h_max IS NOT NULL THEN
        SELECT coalesce(sum(f.metis_wei), 0) INTO metis_used FROM keys.signed_form AS f
         WHERE f.chain_id = _chain_id AND f.account = _account AND f.metis_wei > 0
           AND f.signed_at > clock_timestamp() - interval '24 hours';
        IF metis_used + _charge > _metis_24h_max THEN
            outcome := 'WINDOW';
        END IF;
    END IF;

    SELECT * INTO STRICT _recorded FROM keys.append_audit(_fields || CASE outcome
        WHEN 'REFUSED' THEN _refused WHEN 'NOT_ENABLED' THEN _as_not_enabled
        WHEN 'CONFLICT' THEN _as_conflict WHEN 'WINDOW' THEN _as_window ELSE _as_allowed END);
    audit_sequence := _recorded.audit_sequence;
    IF outcome <> 'ALLOWED' THEN
        RETURN;
    END IF;

    INSERT INTO keys.nonce_guard AS g
        VALUES (_chain_id, _account, _nonce, _digest, _max_fee, _priority_fee, _gas_limit, _intent = 'CANCEL', 1, _recorded.decided_at)
    ON CONFLICT (chain_id, account, nonce) DO UPDATE
        SET digest = excluded.digest, max_fee_wei = excluded.max_fee_wei, priority_fee_wei = excluded.priority_fee_wei,
            gas_limit = excluded.gas_limit, cancelled = g.cancelled OR excluded.cancelled, forms = g.forms + 1,
            updated_at = excluded.updated_at;
    INSERT INTO keys.signed_form
        SELECT _chain_id, _account, _nonce, g.forms, _key_id, _digest, _signing_hash, _max_fee, _priority_fee, _gas_limit,
               _charge, audit_sequence, _recorded.decided_at
          FROM keys.nonce_guard AS g WHERE g.chain_id = _chain_id AND g.account = _account AND g.nonce = _nonce;
END
$$;
