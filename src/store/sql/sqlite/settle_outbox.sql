-- Confirmations: these rows are done. By primary key.
UPDATE outbox AS o
SET state = 'settled', verdict = n.value ->> 1, settled_at = ?2, lease_owner = NULL, lease_until = NULL
FROM json_each(?1) AS n
WHERE o.key = n.value ->> 0 AND o.state = 'pending'
