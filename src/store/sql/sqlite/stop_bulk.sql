-- Bulk actions: a person stops one. By primary key.
UPDATE bulk_actions SET state = 'stopped', ended_at = ?4, stopped_by = ?2, stopped_reason = ?3
WHERE id = ?1 AND state = 'running'
