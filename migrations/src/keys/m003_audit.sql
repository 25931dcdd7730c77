-- Every decision, chained by hash. Columns beside the body are there to be found by; the body counts.
CREATE TABLE keys.audit_record (
    sequence    bigint PRIMARY KEY CHECK (sequence > 0),
    recorded_at timestamptz NOT NULL,
    -- sequencer.keys.v1.AuditBody
    body        bytea NOT NULL,
    -- SHA-256 over the hash before and the body.
    hash        bytea NOT NULL CHECK (length(hash) = 32)
);

-- One row: the end of the chain. Locking it puts all decisions in one order.
CREATE TABLE keys.audit_head (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    sequence bigint NOT NULL,
    hash     bytea NOT NULL CHECK (length(hash) = 32)
);
INSERT INTO keys.audit_head (sequence, hash) VALUES (0, decode(repeat('00', 32), 'hex'));

-- fixed64 of protobuf: eight bytes, the lowest first.
CREATE FUNCTION keys.fixed64(_n bigint) RETURNS bytea
LANGUAGE sql IMMUTABLE STRICT SET search_path = pg_catalog, pg_temp AS $$
    SELECT substr(b, 8, 1) || substr(b, 7, 1) || substr(b, 6, 1) || substr(b, 5, 1)
        || substr(b, 4, 1) || substr(b, 3, 1) || substr(b, 2, 1) || substr(b, 1, 1)
      FROM (SELECT int8send(_n) AS b) AS big_endian;
$$;

-- Adds a record. `_fields` are the encoded fields 1 to 11 of AuditBody; protobuf messages that stand one
-- behind the other are one message, so sequence (12) and time (13) are written behind them.
CREATE FUNCTION keys.append_audit(_fields bytea, OUT audit_sequence bigint, OUT decided_at timestamptz, OUT audit_hash bytea)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    _previous bytea;
    _body bytea;
BEGIN
    SELECT h.sequence + 1, h.hash INTO STRICT audit_sequence, _previous FROM keys.audit_head AS h FOR UPDATE;
    decided_at := clock_timestamp();
    _body := _fields
        || '\x61'::bytea || keys.fixed64(audit_sequence)
        || '\x69'::bytea || keys.fixed64((extract(epoch FROM decided_at) * 1000000)::bigint);
    audit_hash := sha256(_previous || _body);
    INSERT INTO keys.audit_record (sequence, recorded_at, body, hash) VALUES (audit_sequence, decided_at, _body, audit_hash);
    UPDATE keys.audit_head SET sequence = audit_sequence, hash = audit_hash;
END
$$;
