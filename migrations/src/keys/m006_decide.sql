-- Decisions about many transactions in one statement and one commit, sliding windows without summing, ETH windows, approvals.

-- The most wei of ETH that any form of the nonce can move: value, and gas limit times fee.
ALTER TABLE keys.nonce_guard ADD COLUMN eth_wei numeric(78,0) NOT NULL DEFAULT 0;

-- What this form adds to the ETH of its nonce, and all that the account was ever charged, this form included. What went out in 24
-- hours is the difference of two totals, found by two look-ups however much was signed. Totals grow by their time: it is
-- that of the decision, but never before that of the account's last form, even where the clock was set back.
ALTER TABLE keys.signed_form ADD COLUMN eth_wei numeric(78,0) NOT NULL DEFAULT 0;
ALTER TABLE keys.signed_form ADD COLUMN metis_total numeric NOT NULL DEFAULT 0;
ALTER TABLE keys.signed_form ADD COLUMN eth_total numeric NOT NULL DEFAULT 0;
ALTER TABLE keys.signed_form ADD COLUMN window_at timestamptz;

-- Forms of before: the value was not kept, so that only their fees count.
UPDATE keys.signed_form AS f
   SET eth_wei = n.eth_wei, metis_total = n.metis_total, eth_total = n.eth_total, window_at = n.window_at
  FROM (SELECT c.chain_id, c.account, c.nonce, c.form, c.eth_wei,
               sum(c.metis_wei) OVER past AS metis_total, sum(c.eth_wei) OVER past AS eth_total,
               max(c.signed_at) OVER past AS window_at
          FROM (SELECT s.*, greatest(0, s.gas_limit * s.max_fee_wei - coalesce(max(s.gas_limit * s.max_fee_wei) OVER (
                           PARTITION BY s.chain_id, s.account, s.nonce ORDER BY s.form
                           ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0)) AS eth_wei
                  FROM (SELECT o.chain_id, o.account, o.nonce, o.form, o.gas_limit, o.max_fee_wei, o.metis_wei,
                               o.audit_sequence, o.signed_at FROM keys.signed_form AS o) AS s) AS c
        WINDOW past AS (PARTITION BY c.chain_id, c.account ORDER BY c.audit_sequence)) AS n
 WHERE (f.chain_id, f.account, f.nonce, f.form) = (n.chain_id, n.account, n.nonce, n.form);
UPDATE keys.nonce_guard AS g
   SET eth_wei = (SELECT coalesce(sum(f.eth_wei), 0) FROM keys.signed_form AS f
                   WHERE (f.chain_id, f.account, f.nonce) = (g.chain_id, g.account, g.nonce));
ALTER TABLE keys.signed_form ALTER COLUMN window_at SET NOT NULL;
DROP INDEX keys.signed_form_window;
CREATE INDEX signed_form_window ON keys.signed_form (chain_id, account, window_at, audit_sequence);

-- Fields 10 and 11 of AuditBody for a refusal; a reason has fewer than 128 letters, so that its length is one byte.
CREATE FUNCTION keys.refused_as(_reason text) RETURNS bytea
LANGUAGE sql IMMUTABLE STRICT SET search_path = pg_catalog, pg_temp AS $$
    SELECT '\x5207'::bytea || convert_to('REFUSED', 'UTF8')
        || '\x5a'::bytea || set_byte('\x00'::bytea, 0, length(_reason)) || convert_to(_reason, 'UTF8');
$$;

-- Decides about transactions in one statement: policy version, key state, conflict guard, approvals, windows and audit records, all
-- durable together before a key is touched. Every argument is a column; the same place in each is one way to allow one question.
--
-- `_question`, `_way`, `_ways`: the number of the question, and which of its ways this is, of how many, all counted from 1. A later way
-- is tried where the earlier ones lack approvals or room in a window; the last way tried answers, and is recorded.
-- `_round`: ways of one question, questions about one nonce, and those that ask for approvals of one intent are of different rounds,
-- counted from 1; a later round sees what the earlier ones wrote. Two of one round would break the unique row of the nonce, and so the
-- whole statement.
-- `_account_no`: the same number for the same chain and account, counted from 1.
-- `_policy_version` is NULL where no policy was asked (bad input): such a question is refused already.
-- `_refused` is the encoded verdict of the refusal, else NULL; `_allowed` the one of an allowance.
-- Outcomes: ALLOWED, REPEATED (that very payload was released before), REFUSED, NOT_ENABLED, UNPROVEN (`used` is the confirmed floor,
-- NULL without one), CONFLICT, APPROVALS (`used` counts those that there are), METIS_WINDOW and ETH_WINDOW (`used` went out in 24 hours), and STALE: the policy has
-- another version by now, nothing was recorded, evaluate again. All but STALE left one audit record each.
CREATE FUNCTION keys.decide_batch(
    _question integer[], _way integer[], _ways integer[], _round integer[], _account_no integer[],
    _key_id text[], _caller text[], _policy_version bigint[],
    _chain_id bigint[], _account bytea[], _nonce bigint[], _digest bytea[], _signing_hash bytea[],
    _max_fee numeric[], _priority_fee numeric[], _gas_limit bigint[], _intent text[],
    _metis numeric[], _metis_24h_max numeric[], _eth numeric[], _eth_24h_max numeric[],
    _approvals integer[], _intent_digest bytea[],
    _fields bytea[], _refused bytea[], _allowed bytea[])
RETURNS TABLE (question integer, way integer, outcome text, audit_sequence bigint, used numeric,
               held_digest bytea, held_max_fee numeric, held_priority_fee numeric)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
-- One plan for all sizes of batches and tables: look-ups by index, whatever the statistics say of young tables.
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off
SET enable_bitmapscan = off SET enable_material = off SET jit = off
AS $$
DECLARE
    _count constant integer := cardinality(_round);
    _rounds constant integer := (SELECT coalesce(max(r), 0) FROM unnest(_round) AS r);
    _not_enabled constant bytea := keys.refused_as('KEY_NOT_ENABLED');
    _conflict constant bytea := keys.refused_as('NONCE_CONFLICT');
    _window constant bytea := keys.refused_as('POLICY_DENIED');
    _missing constant bytea := keys.refused_as('APPROVALS_MISSING');
    _unproven constant bytea := keys.refused_as('GUARD_UNPROVEN');
    _below constant bytea := keys.refused_as('NONCE_BELOW_FLOOR');
    _sequence bigint;
    _hash bytea;
    _version bigint;
    -- Later migrations make the tables of both; until then nothing is decided.
    _restoration bigint;
    _floor bigint;
    _now timestamptz;
    _time bytea;
    _number bytea;
    _body bytea;
    _metis_charge numeric;
    _eth_charge numeric;
    -- By question: whether it has its answer.
    _answered boolean[] := array_fill(false, ARRAY[_count]);
    -- Of one round, by place: number of the form where it was allowed, what it charges and the totals after it.
    _forms integer[];
    _metis_charged numeric[];
    _eth_charged numeric[];
    _metis_totals numeric[];
    _eth_totals numeric[];
    _window_ats timestamptz[];
    _audit_sequences bigint[];
    -- Of one round, by account: charged by its earlier questions.
    _metis_spent numeric[];
    _eth_spent numeric[];
    -- Of one round: whether it uses approvals.
    _approved boolean;
    -- Of one round: its audit records.
    _sequences bigint[];
    _bodies bytea[];
    _hashes bytea[];
    q record;
BEGIN
    -- From here on these are the only decisions under way; each query below sees all earlier ones.
    SELECT h.sequence, h.hash INTO STRICT _sequence, _hash FROM keys.audit_head AS h FOR UPDATE;
    _version := (SELECT max(p.version) FROM keys.policy AS p);
    _restoration := (SELECT max(r.id) FROM keys.restoration AS r);
    _now := clock_timestamp();
    _number := int8send((extract(epoch FROM _now) * 1000000)::bigint);
    _time := '\x69'::bytea || substr(_number, 8, 1) || substr(_number, 7, 1) || substr(_number, 6, 1) || substr(_number, 5, 1)
        || substr(_number, 4, 1) || substr(_number, 3, 1) || substr(_number, 2, 1) || substr(_number, 1, 1);

    FOR _this_round IN 1.._rounds LOOP
        _forms := array_fill(NULL::integer, ARRAY[_count]);
        _metis_charged := array_fill(NULL::numeric, ARRAY[_count]);
        _eth_charged := _metis_charged;
        _metis_totals := _metis_charged;
        _eth_totals := _metis_charged;
        _window_ats := array_fill(NULL::timestamptz, ARRAY[_count]);
        _audit_sequences := array_fill(NULL::bigint, ARRAY[_count]);
        _metis_spent := array_fill(0::numeric, ARRAY[_count]);
        _eth_spent := _metis_spent;
        _approved := false;
        _sequences := '{}';
        _bodies := '{}';
        _hashes := '{}';
        FOR q IN
            SELECT a.*, k.state, g.digest AS guard_digest, g.max_fee_wei, g.priority_fee_wei, g.gas_limit AS guard_gas_limit,
                   g.cancelled, coalesce(g.eth_wei, 0) AS guard_eth, coalesce(g.forms, 0) AS forms,
                   f.form AS repeated,
                   coalesce(last.metis_total, 0) AS metis_total, coalesce(last.eth_total, 0) AS eth_total,
                   greatest(_now, last.window_at) AS window_at,
                   coalesce(before.metis_total, 0) AS metis_before, coalesce(before.eth_total, 0) AS eth_before
              FROM unnest(_question, _way, _ways, _round, _account_no, _key_id, _caller, _policy_version, _chain_id, _account, _nonce,
                          _digest, _signing_hash, _max_fee, _priority_fee, _gas_limit, _intent, _metis, _metis_24h_max, _eth, _eth_24h_max, _approvals,
                          _intent_digest, _fields, _refused, _allowed)
                   WITH ORDINALITY AS a (question, way, ways, round, account_no, key_id, caller, policy_version, chain_id, account, nonce, digest,
                                         signing_hash, max_fee, priority_fee, gas_limit, intent, metis, metis_24h_max, eth, eth_24h_max,
                                         approvals, intent_digest, fields, refused, allowed, at)
              LEFT JOIN keys.key AS k ON k.id = a.key_id AND k.address = a.account
              LEFT JOIN keys.nonce_guard AS g ON g.chain_id = a.chain_id AND g.account = a.account AND g.nonce = a.nonce
              LEFT JOIN keys.signed_form AS f ON f.chain_id = a.chain_id AND f.account = a.account AND f.nonce = a.nonce
                                             AND f.signing_hash = a.signing_hash
              LEFT JOIN LATERAL (SELECT l.metis_total, l.eth_total, l.window_at FROM keys.signed_form AS l
                                  WHERE l.chain_id = a.chain_id AND l.account = a.account AND a.refused IS NULL
                                  ORDER BY l.chain_id DESC, l.account DESC, l.window_at DESC, l.audit_sequence DESC LIMIT 1) AS last ON true
              LEFT JOIN LATERAL (SELECT b.metis_total, b.eth_total FROM keys.signed_form AS b
                                  WHERE b.chain_id = a.chain_id AND b.account = a.account
                                    AND b.window_at <= _now - interval '24 hours'
                                    AND (a.metis_24h_max IS NOT NULL OR a.eth_24h_max IS NOT NULL)
                                  ORDER BY b.chain_id DESC, b.account DESC, b.window_at DESC, b.audit_sequence DESC LIMIT 1) AS before ON true
             WHERE a.round = _this_round
        LOOP
            CONTINUE WHEN _answered[q.question];
            question := q.question;
            way := q.way;
            used := NULL;
            held_digest := q.guard_digest;
            held_max_fee := q.max_fee_wei;
            held_priority_fee := q.priority_fee_wei;
            IF q.policy_version <> _version OR (q.refused IS NULL AND q.policy_version IS DISTINCT FROM _version) THEN
                outcome := 'STALE';
                audit_sequence := NULL;
                _answered[q.question] := true;
                RETURN NEXT;
                CONTINUE;
            END IF;

            -- After an older state of this database was restored, guards are believed only from a confirmed nonce on.
            IF _restoration IS NOT NULL THEN
                _floor := (SELECT max(f.nonce) FROM keys.nonce_floor AS f
                            WHERE f.restoration = _restoration AND f.chain_id = q.chain_id AND f.account = q.account);
            END IF;

            -- A nonce charges METIS once, and ETH for what a form adds to the forms before.
            _metis_charge := 0;
            _eth_charge := 0;
            IF q.refused IS NOT NULL THEN
                outcome := 'REFUSED';
            ELSIF q.state IS DISTINCT FROM 'ENABLED' THEN
                outcome := 'NOT_ENABLED';
            ELSIF _restoration IS NOT NULL AND (_floor IS NULL OR q.nonce < _floor) THEN
                outcome := 'UNPROVEN';
                used := _floor;
            ELSIF q.repeated IS NOT NULL THEN
                outcome := 'REPEATED';
            ELSIF q.guard_digest IS NULL THEN
                -- A replacement of nothing means that this database has lost what was replaced.
                outcome := CASE WHEN q.intent = 'REPLACE' THEN 'CONFLICT' ELSE 'ALLOWED' END;
                _metis_charge := q.metis;
                _eth_charge := q.eth;
            ELSIF q.max_fee > q.max_fee_wei AND q.priority_fee > q.priority_fee_wei AND (
                      (q.digest = q.guard_digest AND q.intent <> 'NEW' AND q.gas_limit >= q.guard_gas_limit)
                      OR (q.digest <> q.guard_digest AND q.intent = 'CANCEL' AND NOT q.cancelled)) THEN
                outcome := 'ALLOWED';
                _eth_charge := greatest(0, q.eth - q.guard_eth);
            ELSE
                outcome := 'CONFLICT';
            END IF;

            IF outcome = 'ALLOWED' AND q.approvals > 0 THEN
                used := keys.approvers(q.intent_digest, q.caller, q.chain_id, q.account, q.nonce);
                IF used < q.approvals THEN
                    outcome := 'APPROVALS';
                END IF;
            END IF;

            IF outcome = 'ALLOWED' AND _metis_charge > 0 AND q.metis_24h_max IS NOT NULL
               AND q.metis_total - q.metis_before + _metis_spent[q.account_no] + _metis_charge > q.metis_24h_max THEN
                outcome := 'METIS_WINDOW';
                used := q.metis_total - q.metis_before + _metis_spent[q.account_no];
            ELSIF outcome = 'ALLOWED' AND _eth_charge > 0 AND q.eth_24h_max IS NOT NULL
               AND q.eth_total - q.eth_before + _eth_spent[q.account_no] + _eth_charge > q.eth_24h_max THEN
                outcome := 'ETH_WINDOW';
                used := q.eth_total - q.eth_before + _eth_spent[q.account_no];
            END IF;

            CONTINUE WHEN outcome IN ('APPROVALS', 'METIS_WINDOW', 'ETH_WINDOW') AND q.way < q.ways;
            _answered[q.question] := true;

            _sequence := _sequence + 1;
            _number := int8send(_sequence);
            -- Fields 12 and 13 of AuditBody are fixed64: eight bytes, the lowest first.
            _body := q.fields || CASE outcome
                    WHEN 'ALLOWED' THEN q.allowed WHEN 'REPEATED' THEN q.allowed WHEN 'REFUSED' THEN q.refused
                    WHEN 'NOT_ENABLED' THEN _not_enabled WHEN 'CONFLICT' THEN _conflict
                    WHEN 'UNPROVEN' THEN CASE WHEN _floor IS NULL THEN _unproven ELSE _below END
                    WHEN 'APPROVALS' THEN _missing ELSE _window END
                || '\x61'::bytea
                || substr(_number, 8, 1) || substr(_number, 7, 1) || substr(_number, 6, 1) || substr(_number, 5, 1)
                || substr(_number, 4, 1) || substr(_number, 3, 1) || substr(_number, 2, 1) || substr(_number, 1, 1)
                || _time;
            _hash := sha256(_hash || _body);
            _sequences := array_append(_sequences, _sequence);
            _bodies := array_append(_bodies, _body);
            _hashes := array_append(_hashes, _hash);
            audit_sequence := _sequence;
            IF outcome = 'ALLOWED' THEN
                _metis_spent[q.account_no] := _metis_spent[q.account_no] + _metis_charge;
                _eth_spent[q.account_no] := _eth_spent[q.account_no] + _eth_charge;
                _forms[q.at] := q.forms + 1;
                _metis_charged[q.at] := _metis_charge;
                _eth_charged[q.at] := _eth_charge;
                _metis_totals[q.at] := q.metis_total + _metis_spent[q.account_no];
                _eth_totals[q.at] := q.eth_total + _eth_spent[q.account_no];
                _window_ats[q.at] := q.window_at;
                _audit_sequences[q.at] := _sequence;
                _approved := _approved OR q.approvals > 0;
            END IF;
            RETURN NEXT;
        END LOOP;

        INSERT INTO keys.audit_record (sequence, recorded_at, body, hash)
            SELECT r.sequence, _now, r.body, r.hash FROM unnest(_sequences, _bodies, _hashes) AS r (sequence, body, hash);
        INSERT INTO keys.nonce_guard AS g (chain_id, account, nonce, digest, max_fee_wei, priority_fee_wei, gas_limit, cancelled, forms,
                                           updated_at, eth_wei)
            SELECT a.chain_id, a.account, a.nonce, a.digest, a.max_fee, a.priority_fee, a.gas_limit, a.intent = 'CANCEL', a.form,
                   _now, a.eth_charged
              FROM unnest(_forms, _chain_id, _account, _nonce, _digest, _max_fee, _priority_fee, _gas_limit, _intent, _eth_charged)
                   AS a (form, chain_id, account, nonce, digest, max_fee, priority_fee, gas_limit, intent, eth_charged)
             WHERE a.form IS NOT NULL
        ON CONFLICT (chain_id, account, nonce) DO UPDATE
            SET digest = excluded.digest, max_fee_wei = excluded.max_fee_wei, priority_fee_wei = excluded.priority_fee_wei,
                gas_limit = excluded.gas_limit, cancelled = g.cancelled OR excluded.cancelled, forms = excluded.forms,
                updated_at = excluded.updated_at, eth_wei = g.eth_wei + excluded.eth_wei;
        INSERT INTO keys.signed_form (chain_id, account, nonce, form, key_id, digest, signing_hash, max_fee_wei, priority_fee_wei,
                                      gas_limit, metis_wei, audit_sequence, signed_at, eth_wei, metis_total, eth_total, window_at)
            SELECT a.chain_id, a.account, a.nonce, a.form, a.key_id, a.digest, a.signing_hash, a.max_fee, a.priority_fee,
                   a.gas_limit, a.metis_charged, a.audit_sequence, _now, a.eth_charged, a.metis_total, a.eth_total, a.window_at
              FROM unnest(_forms, _chain_id, _account, _nonce, _key_id, _digest, _signing_hash, _max_fee, _priority_fee, _gas_limit,
                          _metis_charged, _eth_charged, _metis_totals, _eth_totals, _window_ats, _audit_sequences)
                   AS a (form, chain_id, account, nonce, key_id, digest, signing_hash, max_fee, priority_fee, gas_limit,
                         metis_charged, eth_charged, metis_total, eth_total, window_at, audit_sequence)
             WHERE a.form IS NOT NULL;
        IF _approved THEN
            PERFORM keys.use_approvals(a.intent_digest, a.caller, a.chain_id, a.account, a.nonce, a.audit_sequence)
               FROM unnest(_forms, _intent_digest, _caller, _chain_id, _account, _nonce, _approvals, _audit_sequences)
                    AS a (form, intent_digest, caller, chain_id, account, nonce, approvals, audit_sequence)
              WHERE a.form IS NOT NULL AND a.approvals > 0;
        END IF;
    END LOOP;
    UPDATE keys.audit_head AS h SET sequence = _sequence, hash = _hash WHERE h.sequence <> _sequence;
END
$$;

-- The one of before, for replicas that still run it.
CREATE OR REPLACE FUNCTION keys.decide(
    _key_id text, _policy_version bigint,
    _chain_id bigint, _account bytea, _nonce bigint, _digest bytea, _signing_hash bytea,
    _max_fee numeric, _priority_fee numeric, _gas_limit bigint,
    _intent text, _metis numeric, _metis_24h_max numeric,
    _fields bytea, _refused bytea, _as_allowed bytea, _as_not_enabled bytea, _as_conflict bytea, _as_window bytea,
    OUT outcome text, OUT audit_sequence bigint, OUT metis_used numeric,
    OUT held_digest bytea, OUT held_max_fee numeric, OUT held_priority_fee numeric)
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT CASE d.outcome WHEN 'METIS_WINDOW' THEN 'WINDOW' ELSE d.outcome END, d.audit_sequence, d.used,
           d.held_digest, d.held_max_fee, d.held_priority_fee
      FROM keys.decide_batch(
               ARRAY[1], ARRAY[1], ARRAY[1], ARRAY[1], ARRAY[1], ARRAY[_key_id], ARRAY[''], ARRAY[_policy_version],
               ARRAY[_chain_id], ARRAY[_account], ARRAY[_nonce], ARRAY[_digest], ARRAY[_signing_hash],
               ARRAY[_max_fee], ARRAY[_priority_fee], ARRAY[_gas_limit], ARRAY[_intent],
               ARRAY[_metis], ARRAY[_metis_24h_max], ARRAY[_gas_limit * _max_fee], ARRAY[NULL::numeric],
               ARRAY[0], ARRAY[NULL::bytea],
               ARRAY[_fields], ARRAY[_refused], ARRAY[_as_allowed]) AS d;
$$;
