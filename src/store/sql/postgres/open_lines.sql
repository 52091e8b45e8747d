-- A batch with arrivals: the open orders of a saga, oldest first (numbered ids count up by length). By orders_status.
SELECT line.saga, line.order_id
FROM unnest($1::text[], $2::bigint[]) AS n (saga, most)
CROSS JOIN LATERAL (
    SELECT o.saga, o.order_id, o.created_at
    FROM unnest(ARRAY['running', 'compensating', 'stuck']) AS open (status)
    CROSS JOIN LATERAL (
        SELECT saga, order_id, created_at FROM orders
        WHERE orders.saga = n.saga AND orders.status = open.status
        ORDER BY created_at, length(order_id), order_id LIMIT n.most
    ) AS o
    ORDER BY o.created_at, length(o.order_id), o.order_id LIMIT n.most
) AS line
ORDER BY line.saga, line.created_at, length(line.order_id), line.order_id
