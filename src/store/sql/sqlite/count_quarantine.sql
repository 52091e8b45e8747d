-- Metrics: what is in quarantine, by reason. Only what waits for a decision, by quarantine_open.
SELECT reason, count(*) AS messages FROM quarantine WHERE resolved IS NULL GROUP BY reason
