-- The deadline loop: orders due before the watermark of their saga, earliest first, without locks. By orders_due.
SELECT o.saga, o.order_id
FROM json_each(?1) AS n
CROSS JOIN orders AS o ON o.rowid IN (
    SELECT rowid FROM orders
    WHERE orders.saga = n.value ->> 0 AND next_due <= n.value ->> 1
    ORDER BY next_due LIMIT ?2
)
ORDER BY o.next_due, o.saga, o.order_id LIMIT ?2
