DROP INDEX quarantine_reasons;
ALTER TABLE step_stats DROP COLUMN timed_out;
ALTER TABLE step_stats DROP COLUMN closed;
