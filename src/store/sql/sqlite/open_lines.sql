-- A batch with arrivals: the open orders of a saga, oldest first (numbered ids count up by length). By orders_status.
SELECT saga, order_id FROM (
    SELECT o.saga, o.order_id, o.created_at, n.value ->> 1 AS most,
        row_number() OVER (PARTITION BY o.saga ORDER BY o.created_at, length(o.order_id), o.order_id) AS place
    FROM json_each(?1) AS n
    CROSS JOIN json_each('["running","compensating","stuck"]') AS open
    CROSS JOIN orders AS o ON o.rowid IN (
        SELECT rowid FROM orders
        WHERE orders.saga = n.value ->> 0 AND orders.status = open.value
        ORDER BY created_at, length(order_id), order_id LIMIT n.value ->> 1
    )
)
WHERE place <= most
ORDER BY saga, place
