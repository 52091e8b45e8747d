-- Lists by awaited step: which sets of steps are waited for. A loose scan, one look into orders_waiting for each.
WITH RECURSIVE known (waiting) AS (
    SELECT (SELECT waiting FROM orders WHERE waiting <> '' ORDER BY waiting LIMIT 1)
    UNION ALL
    SELECT (SELECT o.waiting FROM orders AS o WHERE o.waiting <> '' AND o.waiting > known.waiting ORDER BY o.waiting LIMIT 1)
    FROM known WHERE known.waiting IS NOT NULL
)
SELECT waiting FROM known WHERE waiting IS NOT NULL
