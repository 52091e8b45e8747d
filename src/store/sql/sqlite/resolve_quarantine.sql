-- Messages that were replayed or dropped. By primary key.
UPDATE quarantine AS q
SET resolved = n.how, resolved_by = n.actor, resolved_reason = n.reason, resolved_at = ?2
FROM (SELECT value ->> 0 AS id, value ->> 1 AS how, value ->> 2 AS actor, value ->> 3 AS reason
    FROM json_each(?1)) AS n
WHERE q.id = n.id AND q.resolved IS NULL
