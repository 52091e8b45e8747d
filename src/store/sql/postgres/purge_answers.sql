-- Housekeeping: forgets what is old, some thousands at a time. By answers_age.
DELETE FROM answers WHERE ctid IN (SELECT ctid FROM answers WHERE made_at < $1 LIMIT $2)
