-- Every batch: its orders, locked in key order. By primary key.
SELECT o.saga, o.order_id, o.version, o.status, o.state, o.seen, o.attributes, o.created_at, o.updated_at, o.sequence, o.head, o.duplicates, o.earlier
FROM unnest($1::text[], $2::text[])
    AS n (saga, order_id)
JOIN orders AS o ON o.order_id = n.order_id AND o.saga = n.saga
ORDER BY o.saga, o.order_id
FOR UPDATE OF o
