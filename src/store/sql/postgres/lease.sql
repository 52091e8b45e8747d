-- Housekeeping: one replica at a time. By primary key.
INSERT INTO leases (name, owner, lease_until) VALUES ($1, $2::uuid, escrow_now() + $3)
ON CONFLICT (name) DO UPDATE SET owner = excluded.owner, lease_until = excluded.lease_until
WHERE leases.owner = excluded.owner OR leases.lease_until <= escrow_now()
