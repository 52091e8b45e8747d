-- Lists without a saga: which there are. A loose scan, one look into orders_status for each.
WITH RECURSIVE known (saga) AS (
    SELECT (SELECT saga FROM orders ORDER BY saga LIMIT 1)
    UNION ALL
    SELECT (SELECT o.saga FROM orders AS o WHERE o.saga > known.saga ORDER BY o.saga LIMIT 1) FROM known WHERE known.saga IS NOT NULL
)
SELECT saga FROM known WHERE saga IS NOT NULL
