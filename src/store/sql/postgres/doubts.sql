-- The API: what is doubted now, newest first. By doubts_open.
SELECT id, kind, saga, from_at, to_at, event, order_id FROM doubts WHERE resolved_at IS NULL ORDER BY id DESC LIMIT $1
