-- The kill switch of each tap: who took it from the services' exchanges, who gave it back, and why. The last row counts.
CREATE TABLE tap_log (
    id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tap     text COLLATE "C" NOT NULL,
    at      bigint NOT NULL,
    unbound boolean NOT NULL,
    actor   text NOT NULL,
    reason  text NOT NULL
);
-- The last row of a tap.
CREATE INDEX tap_log_last ON tap_log (tap, id);
CREATE TRIGGER tap_log_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON tap_log
    FOR EACH STATEMENT EXECUTE FUNCTION escrow_append_only();
