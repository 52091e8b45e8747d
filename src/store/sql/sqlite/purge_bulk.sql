-- Housekeeping: forgets what is old, some thousands at a time, and after its orders. By bulk_actions_ended.
DELETE FROM bulk_actions WHERE rowid IN (
    SELECT b.rowid FROM bulk_actions AS b
    WHERE b.ended_at < ?1 AND NOT EXISTS (SELECT 1 FROM bulk_orders AS o WHERE o.id = b.id) LIMIT ?2
)
