-- Incidents, part 2: a merge over statuses, opened last first. By incidents_status.
FROM json_each(?1) AS branch
CROSS JOIN incidents AS i ON i.rowid IN (
    SELECT n.rowid FROM incidents AS n
    WHERE n.status = branch.value
        AND n.opened_at <= ?2 AND (n.opened_at < ?2 OR (n.id, n.episode) < (?3, ?4))
        AND (?5 IS NULL OR n.saga = ?5) AND (?6 IS NULL OR n.cause = ?6)
    ORDER BY n.opened_at DESC, n.id DESC, n.episode DESC LIMIT ?7
)
ORDER BY i.opened_at DESC, i.id DESC, i.episode DESC LIMIT ?7
