-- Housekeeping: forgets what is old, some thousands at a time. By notices_settled.
DELETE FROM notices WHERE rowid IN (SELECT rowid FROM notices WHERE state = 'settled' AND settled_at < ?1 LIMIT ?2)
