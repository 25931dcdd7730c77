-- Key-encryption keys that are random and kept encrypted by something else, and more than one generation of them.
ALTER TABLE keys.kek DROP CONSTRAINT kek_source_check;
ALTER TABLE keys.kek ADD COLUMN wrapped bytea;
ALTER TABLE keys.kek ADD CONSTRAINT kek_source_check
    CHECK (source IN ('KEY', 'ARGON2ID', 'AGE', 'TRANSIT', 'AWS_KMS'));
-- AGE, TRANSIT, AWS_KMS: the key as these encrypted it.
ALTER TABLE keys.kek ADD CONSTRAINT kek_wrapped_check
    CHECK ((source IN ('AGE', 'TRANSIT', 'AWS_KMS')) = (wrapped IS NOT NULL));

-- What is still under an older generation, and that nothing is.
CREATE INDEX key_kek_generation ON keys.key (kek_generation);

-- The lock (a number of ours, "kek" in hex) is shared by whoever stores a key and held alone by whoever begins a
-- generation: after that no key appears under an older one.
CREATE FUNCTION keys.hold_kek() RETURNS integer
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM pg_advisory_xact_lock_shared(7038315);
    RETURN (SELECT max(g.generation) FROM keys.kek AS g);
END
$$;

-- Adds a generation behind the newest; nothing happens if it is there already.
CREATE FUNCTION keys.add_kek(
    _generation integer, _source text, _salt bytea, _memory_kib integer, _passes integer, _lanes integer,
    _wrapped bytea, _check_value bytea) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(7038315);
    IF _generation <> coalesce((SELECT max(g.generation) FROM keys.kek AS g), 0) + 1 THEN
        RETURN;
    END IF;
    INSERT INTO keys.kek (generation, source, salt, memory_kib, passes, lanes, wrapped, check_value)
    VALUES (_generation, _source, _salt, _memory_kib, _passes, _lanes, _wrapped, _check_value);
END
$$;

-- Wraps data keys anew. Only forward, and only where the wrapping is the one that was opened.
CREATE FUNCTION keys.rewrap(_generation integer, _ids text[], _held bytea[], _wrapped bytea[]) RETURNS bigint
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    WITH replaced AS (
        UPDATE keys.key AS k SET wrapped_data_key = n.wrapped, kek_generation = _generation
          FROM unnest(_ids, _held, _wrapped) AS n (id, held, wrapped)
         WHERE k.id = n.id AND k.wrapped_data_key = n.held AND k.kek_generation < _generation
        RETURNING 1)
    SELECT count(*) FROM replaced;
$$;

-- Every proof that an archive can be restored: a drill or a restore.
CREATE TABLE keys.drill (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind            text NOT NULL CHECK (kind IN ('VERIFY', 'RESTORE')),
    caller          text NOT NULL,
    archive_sha256  bytea NOT NULL CHECK (length(archive_sha256) = 32),
    -- As the archive says.
    archive_made_at timestamptz NOT NULL,
    -- Keys of this installation that were in it, and those that were not.
    proven          integer NOT NULL CHECK (proven >= 0),
    missing         integer NOT NULL CHECK (missing >= 0),
    proven_at       timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE TABLE keys.drill_key (
    drill_id bigint NOT NULL REFERENCES keys.drill (id),
    key_id   text NOT NULL REFERENCES keys.key (id),
    PRIMARY KEY (key_id, drill_id)
);
