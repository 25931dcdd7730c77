-- keys.decide_batch as in m006, with less work for each call: the reasons of refusals are constants, the version of the policy and the
-- last restoration are read by the query that reads all else behind the lock, and all rows of a round are written by one statement.
-- Arguments, outcomes and rules are those of m006.

-- On a young table the planner took the index of windows to find one form of a nonce, and read all forms of the account for each
-- decision, until the first ANALYZE. A partial index serves only queries that say its condition, which is always true: windows do.
DROP INDEX keys.signed_form_window;
CREATE INDEX signed_form_window ON keys.signed_form (chain_id, account, window_at, audit_sequence) WHERE window_at > '-infinity';

CREATE OR REPLACE FUNCTION keys.decide_batch(
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
SET enable_bitmapscan = off SET enable_material = off SET enable_sort = off SET jit = off
AS $$
DECLARE
    _count constant integer := cardinality(_round);
    _rounds integer := 0;
    -- What keys.refused_as gives for each reason.
    _not_enabled constant bytea := '\x5207524546555345445a0f4b45595f4e4f545f454e41424c4544'; -- KEY_NOT_ENABLED
    _conflict constant bytea := '\x5207524546555345445a0e4e4f4e43455f434f4e464c494354'; -- NONCE_CONFLICT
    _window constant bytea := '\x5207524546555345445a0d504f4c4943595f44454e494544'; -- POLICY_DENIED
    _missing constant bytea := '\x5207524546555345445a11415050524f56414c535f4d495353494e47'; -- APPROVALS_MISSING
    _unproven constant bytea := '\x5207524546555345445a0e47554152445f554e50524f56454e'; -- GUARD_UNPROVEN
    _below constant bytea := '\x5207524546555345445a114e4f4e43455f42454c4f575f464c4f4f52'; -- NONCE_BELOW_FLOOR
    _sequence bigint;
    _hash bytea;
    _any_round integer;
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
    _now := clock_timestamp();
    _number := int8send((extract(epoch FROM _now) * 1000000)::bigint);
    _time := '\x69'::bytea || substr(_number, 8, 1) || substr(_number, 7, 1) || substr(_number, 6, 1) || substr(_number, 5, 1)
        || substr(_number, 4, 1) || substr(_number, 3, 1) || substr(_number, 2, 1) || substr(_number, 1, 1);

    FOREACH _any_round IN ARRAY _round LOOP
        _rounds := greatest(_rounds, _any_round);
    END LOOP;
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
            SELECT a.*, (SELECT max(p.version) FROM keys.policy AS p) AS version,
                   (SELECT max(r.id) FROM keys.restoration AS r) AS restoration, k.state, g.digest AS guard_digest, g.max_fee_wei, g.priority_fee_wei, g.gas_limit AS guard_gas_limit,
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
                                  WHERE l.chain_id = a.chain_id AND l.account = a.account AND l.window_at > '-infinity' AND a.refused IS NULL
                                  ORDER BY l.chain_id DESC, l.account DESC, l.window_at DESC, l.audit_sequence DESC LIMIT 1) AS last ON true
              LEFT JOIN LATERAL (SELECT b.metis_total, b.eth_total FROM keys.signed_form AS b
                                  WHERE b.chain_id = a.chain_id AND b.account = a.account
                                    AND b.window_at > '-infinity' AND b.window_at <= _now - interval '24 hours'
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
            IF q.policy_version <> q.version OR (q.refused IS NULL AND q.policy_version IS DISTINCT FROM q.version) THEN
                outcome := 'STALE';
                audit_sequence := NULL;
                _answered[q.question] := true;
                RETURN NEXT;
                CONTINUE;
            END IF;

            -- After an older state of this database was restored, guards are believed only from a confirmed nonce on.
            IF q.restoration IS NOT NULL THEN
                _floor := (SELECT max(f.nonce) FROM keys.nonce_floor AS f
                            WHERE f.restoration = q.restoration AND f.chain_id = q.chain_id AND f.account = q.account);
            END IF;

            -- A nonce charges METIS once, and ETH for what a form adds to the forms before.
            _metis_charge := 0;
            _eth_charge := 0;
            IF q.refused IS NOT NULL THEN
                outcome := 'REFUSED';
            ELSIF q.state IS DISTINCT FROM 'ENABLED' THEN
                outcome := 'NOT_ENABLED';
            ELSIF q.restoration IS NOT NULL AND (_floor IS NULL OR q.nonce < _floor) THEN
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

        -- One statement for all rows of the round; its foreign keys are checked at its end.
        WITH record AS (
            INSERT INTO keys.audit_record (sequence, recorded_at, body, hash)
            SELECT r.sequence, _now, r.body, r.hash FROM unnest(_sequences, _bodies, _hashes) AS r (sequence, body, hash)),
        head AS (
            UPDATE keys.audit_head AS h SET sequence = _sequence, hash = _hash WHERE h.sequence <> _sequence),
        a AS (
            SELECT s.* FROM unnest(_forms, _chain_id, _account, _nonce, _key_id, _digest, _signing_hash, _max_fee, _priority_fee, _gas_limit,
                                   _intent, _metis_charged, _eth_charged, _metis_totals, _eth_totals, _window_ats, _audit_sequences)
                        AS s (form, chain_id, account, nonce, key_id, digest, signing_hash, max_fee, priority_fee, gas_limit,
                              intent, metis_charged, eth_charged, metis_total, eth_total, window_at, audit_sequence)
             WHERE s.form IS NOT NULL),
        guard AS (
            INSERT INTO keys.nonce_guard AS g (chain_id, account, nonce, digest, max_fee_wei, priority_fee_wei, gas_limit, cancelled, forms,
                                               updated_at, eth_wei)
            SELECT a.chain_id, a.account, a.nonce, a.digest, a.max_fee, a.priority_fee, a.gas_limit, a.intent = 'CANCEL', a.form,
                   _now, a.eth_charged
              FROM a
            ON CONFLICT (chain_id, account, nonce) DO UPDATE
                SET digest = excluded.digest, max_fee_wei = excluded.max_fee_wei, priority_fee_wei = excluded.priority_fee_wei,
                    gas_limit = excluded.gas_limit, cancelled = g.cancelled OR excluded.cancelled, forms = excluded.forms,
                    updated_at = excluded.updated_at, eth_wei = g.eth_wei + excluded.eth_wei)
        INSERT INTO keys.signed_form (chain_id, account, nonce, form, key_id, digest, signing_hash, max_fee_wei, priority_fee_wei,
                                      gas_limit, metis_wei, audit_sequence, signed_at, eth_wei, metis_total, eth_total, window_at)
            SELECT a.chain_id, a.account, a.nonce, a.form, a.key_id, a.digest, a.signing_hash, a.max_fee, a.priority_fee,
                   a.gas_limit, a.metis_charged, a.audit_sequence, _now, a.eth_charged, a.metis_total, a.eth_total, a.window_at
              FROM a;
        IF _approved THEN
            PERFORM keys.use_approvals(a.intent_digest, a.caller, a.chain_id, a.account, a.nonce, a.audit_sequence)
               FROM unnest(_forms, _intent_digest, _caller, _chain_id, _account, _nonce, _approvals, _audit_sequences)
                    AS a (form, intent_digest, caller, chain_id, account, nonce, approvals, audit_sequence)
              WHERE a.form IS NOT NULL AND a.approvals > 0;
        END IF;
    END LOOP;
END
$$;
