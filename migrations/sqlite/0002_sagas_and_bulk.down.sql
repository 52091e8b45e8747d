-- Brakes are off and counted anew by the program before; bulk actions stop where they are.
DROP TABLE bulk_orders;
DROP TABLE bulk_actions;
DROP TABLE saga_states;
CREATE TABLE saga_log (
    id     integer PRIMARY KEY AUTOINCREMENT,
    saga   text NOT NULL,
    at     integer NOT NULL,
    what   text NOT NULL,
    detail text NOT NULL,
    actor  text NOT NULL,
    reason text NOT NULL
);
CREATE TRIGGER saga_log_never_updated BEFORE UPDATE ON saga_log
BEGIN SELECT RAISE(ABORT, 'table saga_log is append-only'); END;
CREATE TRIGGER saga_log_never_deleted BEFORE DELETE ON saga_log
BEGIN SELECT RAISE(ABORT, 'table saga_log is append-only'); END;
