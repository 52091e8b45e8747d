-- The deadline loop: orders due before the watermark of their saga, earliest first, without locks. By orders_due.
SELECT o.saga, o.order_id
FROM unnest($1::text[], $2::bigint[]) AS n (saga, watermark)
CROSS JOIN LATERAL (
    SELECT saga, order_id, next_due FROM orders
    WHERE orders.saga = n.saga AND next_due <= n.watermark
    ORDER BY next_due LIMIT $3
) AS o
ORDER BY o.next_due, o.saga, o.order_id LIMIT $3
