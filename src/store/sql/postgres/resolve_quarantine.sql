-- Messages that were replayed or dropped. By primary key.
UPDATE quarantine AS q
SET resolved = n.how, resolved_by = n.actor, resolved_reason = n.reason, resolved_at = $5
FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[])
    AS n (id, how, actor, reason)
WHERE q.id = n.id AND q.resolved IS NULL
