-- Alerting: this row is done. By primary key.
UPDATE notices
SET state = 'settled', verdict = ?2, settled_at = ?3, lease_owner = NULL, lease_until = NULL
WHERE key = ?1 AND state = 'pending'
