-- Alerting: this row is done. By primary key.
UPDATE notices
SET state = 'settled', verdict = $2, settled_at = escrow_now(), lease_owner = NULL, lease_until = NULL
WHERE key = $1::uuid AND state = 'pending'
