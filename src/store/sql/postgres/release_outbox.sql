-- The relay: gives leases back. By primary key.
UPDATE outbox
SET lease_owner = NULL, lease_until = NULL, available_at = escrow_now() + $2
WHERE key = ANY ($1::text[]::uuid[]) AND state = 'pending'
