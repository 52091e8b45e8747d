-- Bulk actions: leases the one whose turn it is. By bulk_actions_running.
UPDATE bulk_actions SET lease_owner = ?1, lease_until = ?3 + ?2
WHERE id = (
    SELECT id FROM bulk_actions
    WHERE state = 'running' AND next_at <= ?3 AND (lease_until <= ?3 OR lease_owner = ?1)
    ORDER BY next_at LIMIT 1
)
RETURNING id, ask
