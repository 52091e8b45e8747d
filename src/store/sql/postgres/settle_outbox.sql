-- Confirmations: these rows are done. By primary key.
UPDATE outbox AS o
SET state = 'settled', verdict = n.verdict, settled_at = $3, lease_owner = NULL, lease_until = NULL
FROM unnest($1::text[], $2::text[]) AS n (key, verdict)
WHERE o.key = n.key::uuid AND o.state = 'pending'
