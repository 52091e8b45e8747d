-- Incidents: which episode the next one follows. By primary key.
SELECT id, max(episode) AS episode FROM incidents WHERE id IN (SELECT value FROM json_each(?1)) GROUP BY id
