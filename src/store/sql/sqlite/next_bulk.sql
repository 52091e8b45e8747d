-- Bulk actions: how long until one is due. By bulk_actions_running.
SELECT min(next_at) - ?1 AS after FROM bulk_actions WHERE state = 'running'
