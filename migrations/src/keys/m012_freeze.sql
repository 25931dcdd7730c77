-- A freeze is not undone by who looked before it: whoever changes states of keys waits here for those who are changing them, and looks
-- afterwards. Keys that are being stored take the same lock, shared (keys.key_is_added).
CREATE FUNCTION keys.hold_states() RETURNS void
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT pg_advisory_xact_lock(4005001);
$$;

-- Since when the key is frozen by itself: approvals of the end of one freeze say nothing about the next.
ALTER TABLE keys.key ADD COLUMN frozen_at timestamptz;
UPDATE keys.key SET frozen_at = clock_timestamp() WHERE own_state = 'FROZEN';

CREATE OR REPLACE FUNCTION keys.key_is_added() RETURNS trigger
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM pg_advisory_xact_lock_shared(4005001);
    NEW.own_state := NEW.state;
    NEW.frozen_at := CASE WHEN NEW.own_state = 'FROZEN' THEN clock_timestamp() END;
    NEW.state := keys.state_of_key(NEW.own_state, NEW.labels);
    RETURN NEW;
END
$$;

CREATE OR REPLACE FUNCTION keys.set_key_state(_id text, _state text) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM pg_advisory_xact_lock_shared(4005001);
    UPDATE keys.key
       SET own_state = _state, state = keys.state_of_key(_state, labels),
           frozen_at = CASE WHEN _state = 'FROZEN' THEN coalesce(frozen_at, clock_timestamp()) END
     WHERE id = _id;
END
$$;
