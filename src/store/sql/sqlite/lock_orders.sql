-- Every batch: its orders, locked in key order. By primary key.
SELECT o.saga, o.order_id, o.version, o.status, o.state, o.seen, o.attributes, o.created_at, o.updated_at, o.sequence, o.head, o.duplicates, o.earlier
FROM json_each(?1) AS n
CROSS JOIN orders AS o ON o.order_id = n.value ->> 1 AND o.saga = n.value ->> 0
