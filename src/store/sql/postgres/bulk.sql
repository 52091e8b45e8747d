-- The API: a bulk action and how far it is. By primary keys.
SELECT b.ask, b.state, b.total, b.created_at, b.ended_at, b.stopped_by, b.stopped_reason,
    (SELECT count(*) FROM bulk_orders AS o WHERE o.id = b.id AND o.outcome = 'done') AS done,
    (SELECT count(*) FROM bulk_orders AS o WHERE o.id = b.id AND o.outcome = 'refused') AS refused,
    (SELECT count(*) FROM bulk_orders AS o WHERE o.id = b.id AND o.outcome = 'gone') AS gone
FROM bulk_actions AS b WHERE b.id = $1::uuid
