-- Incidents, part 2: a merge over statuses, opened last first. By incidents_status.
FROM unnest($1::text[]) AS branch (status)
CROSS JOIN LATERAL (
    SELECT n.* FROM incidents AS n
    WHERE n.status = branch.status
        AND n.opened_at <= $2::bigint AND (n.opened_at < $2::bigint OR (n.id, n.episode) < ($3::text, $4::bigint))
        AND ($5::text IS NULL OR n.saga = $5::text) AND ($6::text IS NULL OR n.cause = $6::text)
    ORDER BY n.opened_at DESC, n.id DESC, n.episode DESC LIMIT $7
) AS i
ORDER BY i.opened_at DESC, i.id DESC, i.episode DESC LIMIT $7
