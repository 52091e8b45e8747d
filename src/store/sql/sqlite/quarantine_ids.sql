-- Batches with unreadable messages: their ids beforehand, so that doubts can name them.
WITH RECURSIVE place (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM place WHERE n < ?1)
SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'quarantine'), 0) + n AS id FROM place ORDER BY n
