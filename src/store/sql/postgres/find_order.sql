-- The API: one order. By primary key.
SELECT o.saga, o.order_id, o.version, o.status, o.state, o.seen, o.attributes, o.created_at, o.updated_at, o.sequence, o.head, o.duplicates, o.earlier FROM orders AS o WHERE o.saga = $1 AND o.order_id = $2
