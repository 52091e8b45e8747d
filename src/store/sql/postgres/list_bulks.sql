-- The API: bulk actions and how far they are, the newest first. By bulk_actions_created.
SELECT id::text AS id, ask, state, total, done, refused, gone, created_at, ended_at, stopped_by, stopped_reason
FROM bulk_actions
WHERE created_at <= $1 AND (created_at < $1 OR id < $2::uuid) AND ($3::text IS NULL OR state = $3::text)
ORDER BY created_at DESC, bulk_actions.id DESC LIMIT $4
