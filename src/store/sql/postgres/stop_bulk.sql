-- Bulk actions: a person stops one. By primary key.
UPDATE bulk_actions SET state = 'stopped', ended_at = escrow_now(), stopped_by = $2, stopped_reason = $3
WHERE id = $1::uuid AND state = 'running'
