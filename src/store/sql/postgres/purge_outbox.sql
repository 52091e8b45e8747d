-- Housekeeping: forgets what is old, some thousands at a time. By outbox_settled.
DELETE FROM outbox WHERE ctid IN (SELECT ctid FROM outbox WHERE state = 'settled' AND settled_at < $1 LIMIT $2)
