-- The deadline loop: when to look again. One look into orders_due for each saga in it.
WITH RECURSIVE armed (saga) AS (
    SELECT (SELECT saga FROM orders WHERE next_due IS NOT NULL ORDER BY saga LIMIT 1)
    UNION ALL
    SELECT (SELECT o.saga FROM orders AS o WHERE o.next_due IS NOT NULL AND o.saga > armed.saga ORDER BY o.saga LIMIT 1)
    FROM armed WHERE armed.saga IS NOT NULL
)
SELECT min((
    SELECT o.next_due FROM orders AS o
    WHERE o.saga = armed.saga AND o.next_due > coalesce(?1, -9223372036854775808) ORDER BY o.next_due LIMIT 1
)) AS at
FROM armed WHERE armed.saga IS NOT NULL
