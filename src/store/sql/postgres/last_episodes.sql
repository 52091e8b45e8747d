-- Incidents: which episode the next one follows. By primary key.
SELECT id, max(episode) AS episode FROM incidents WHERE id = ANY ($1) GROUP BY id
