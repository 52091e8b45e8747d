-- The doubts about messages that were replayed or dropped. By doubts_quarantined.
-- The other columns are those of resolve_quarantine.sql.
UPDATE doubts AS d
SET resolved_at = ?2
FROM json_each(?1) AS n
WHERE d.quarantine_id = n.value ->> 0 AND d.resolved_at IS NULL
