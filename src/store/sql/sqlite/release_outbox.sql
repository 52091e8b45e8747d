-- The relay: gives leases back. By primary key.
UPDATE outbox
SET lease_owner = NULL, lease_until = NULL, available_at = ?3 + ?2
WHERE key IN (SELECT value FROM json_each(?1)) AND state = 'pending'
