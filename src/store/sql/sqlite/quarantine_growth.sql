-- Incidents: what came into quarantine lately and is still there, among the newest. By quarantine_open.
SELECT coalesce(saga, '') AS saga, count(*) AS messages, min(at) AS first_at, max(at) AS last_at
FROM (SELECT saga, at FROM quarantine INDEXED BY quarantine_open WHERE resolved IS NULL ORDER BY id DESC LIMIT ?2) AS newest
WHERE at >= ?1
GROUP BY coalesce(saga, '') ORDER BY 1
