-- Brakes are off and counted anew by the program before; bulk actions stop where they are.
DROP TABLE bulk_orders, bulk_actions, saga_states;
CREATE TABLE saga_log (
    id     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    saga   text COLLATE "C" NOT NULL,
    at     bigint NOT NULL,
    what   text NOT NULL,
    detail text NOT NULL,
    actor  text NOT NULL,
    reason text NOT NULL
);
CREATE TRIGGER saga_log_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON saga_log
    FOR EACH STATEMENT EXECUTE FUNCTION escrow_append_only();
