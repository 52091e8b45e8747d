ALTER TABLE notices DROP COLUMN problem;
DROP INDEX bulk_actions_created;
ALTER TABLE bulk_actions DROP COLUMN gone;
ALTER TABLE bulk_actions DROP COLUMN refused;
ALTER TABLE bulk_actions DROP COLUMN done;
