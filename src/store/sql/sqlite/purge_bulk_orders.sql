-- Housekeeping: forgets what is old, some thousands at a time. By bulk_actions_ended.
DELETE FROM bulk_orders WHERE rowid IN (
    SELECT o.rowid FROM bulk_actions AS b CROSS JOIN bulk_orders AS o ON o.id = b.id WHERE b.ended_at < ?1 LIMIT ?2
)
