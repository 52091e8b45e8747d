-- Figures for the web page.

-- How the steps ended that statistics are made of: how many in all, and how many were given up.
ALTER TABLE step_stats ADD COLUMN closed bigint NOT NULL DEFAULT 0;
ALTER TABLE step_stats ADD COLUMN timed_out bigint NOT NULL DEFAULT 0;

-- What waits for a decision, by reason: counted from the index alone.
CREATE INDEX quarantine_reasons ON quarantine (reason) WHERE resolved IS NULL;
