-- What an operator decides is stored with a record of it, in one transaction, or not at all: also where somebody with the role of the
-- service goes around the service. Looked at when the transaction ends, since the record comes last. Decisions about signatures need
-- none of this: the functions that decide write their records.
CREATE FUNCTION keys.is_recorded() RETURNS trigger
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    -- Who has added a record holds the end of the log until the transaction ends, so the last one is its own.
    IF NOT EXISTS (SELECT 1 FROM keys.audit_record AS r
                    WHERE r.sequence = (SELECT h.sequence FROM keys.audit_head AS h)
                      AND r.xmin = pg_current_xact_id()::xid) THEN
        RAISE EXCEPTION 'a change of keys.% has no record in the audit log', TG_TABLE_NAME USING ERRCODE = 'insufficient_privilege';
    END IF;
    RETURN NULL;
END
$$;

CREATE CONSTRAINT TRIGGER policy_is_recorded AFTER INSERT ON keys.policy
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION keys.is_recorded();
CREATE CONSTRAINT TRIGGER key_is_recorded AFTER INSERT OR UPDATE OF own_state ON keys.key
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION keys.is_recorded();
CREATE CONSTRAINT TRIGGER freeze_is_recorded AFTER INSERT OR UPDATE ON keys.frozen_label
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION keys.is_recorded();
CREATE CONSTRAINT TRIGGER revocation_is_recorded AFTER UPDATE OF revoked_at ON keys.approval
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION keys.is_recorded();
CREATE CONSTRAINT TRIGGER floor_is_recorded AFTER INSERT ON keys.nonce_floor
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION keys.is_recorded();
