-- Bulk actions: leases the one whose turn it is. By bulk_actions_running.
UPDATE bulk_actions SET lease_owner = $1::uuid, lease_until = escrow_now() + $2
WHERE id = (
    SELECT id FROM bulk_actions
    WHERE state = 'running' AND next_at <= escrow_now() AND (lease_until <= escrow_now() OR lease_owner = $1::uuid)
    ORDER BY next_at LIMIT 1
    FOR UPDATE SKIP LOCKED
)
RETURNING id::text AS id, ask
