-- The API: a bulk action and how far it is. By primary key.
SELECT id, ask, state, total, done, refused, gone, created_at, ended_at, stopped_by, stopped_reason
FROM bulk_actions WHERE id = ?1
