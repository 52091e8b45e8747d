-- The doubts about messages that were replayed or dropped. By doubts_quarantined.
-- The other columns are those of resolve_quarantine.sql.
UPDATE doubts AS d
SET resolved_at = $5
FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[])
    AS n (id, how, actor, reason)
WHERE d.quarantine_id = n.id AND d.resolved_at IS NULL
