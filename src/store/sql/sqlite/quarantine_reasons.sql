-- The API: how many messages wait in quarantine, by reason. From quarantine_reasons alone.
SELECT reason, count(*) AS messages FROM quarantine WHERE resolved IS NULL GROUP BY reason ORDER BY reason
