-- The catalog: every version, with its open orders counted from orders_status alone.
SELECT d.saga, d.version, d.text, d.fingerprint, d.stored_at, d.applied_at, coalesce(open.orders, 0) AS open_orders
FROM definitions AS d
LEFT JOIN (
    SELECT saga, version, count(*) AS orders FROM orders
    WHERE saga IN (SELECT saga FROM definitions) AND status IN ('running', 'compensating', 'stuck')
    GROUP BY saga, version
) AS open ON open.saga = d.saga AND open.version = d.version
ORDER BY d.saga, d.version
