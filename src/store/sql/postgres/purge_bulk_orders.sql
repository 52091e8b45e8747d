-- Housekeeping: forgets what is old, some thousands at a time. By bulk_actions_ended.
DELETE FROM bulk_orders WHERE ctid IN (
    SELECT o.ctid FROM bulk_actions AS b JOIN bulk_orders AS o ON o.id = b.id WHERE b.ended_at < $1 LIMIT $2
)
