-- The kill switch of each tap: who took it from the services' exchanges, who gave it back, and why. The last row counts.
CREATE TABLE tap_log (
    id      integer PRIMARY KEY AUTOINCREMENT,
    tap     text NOT NULL,
    at      integer NOT NULL,
    unbound boolean NOT NULL,
    actor   text NOT NULL,
    reason  text NOT NULL
);
-- The last row of a tap.
CREATE INDEX tap_log_last ON tap_log (tap, id);
CREATE TRIGGER tap_log_never_updated BEFORE UPDATE ON tap_log
BEGIN SELECT RAISE(ABORT, 'table tap_log is append-only'); END;
CREATE TRIGGER tap_log_never_deleted BEFORE DELETE ON tap_log
BEGIN SELECT RAISE(ABORT, 'table tap_log is append-only'); END;
