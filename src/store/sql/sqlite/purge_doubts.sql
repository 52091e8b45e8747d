-- Housekeeping: forgets what is old, some thousands at a time. The table is small.
DELETE FROM doubts WHERE rowid IN (SELECT rowid FROM doubts WHERE resolved_at < ?1 LIMIT ?2)
