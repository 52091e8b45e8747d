-- Lists by reason: which sets of reasons there are. A loose scan, one look into orders_stuck for each.
WITH RECURSIVE known (reason) AS (
    SELECT (SELECT reason FROM orders WHERE reason IS NOT NULL ORDER BY reason LIMIT 1)
    UNION ALL
    SELECT (SELECT o.reason FROM orders AS o WHERE o.reason IS NOT NULL AND o.reason > known.reason ORDER BY o.reason LIMIT 1)
    FROM known WHERE known.reason IS NOT NULL
)
SELECT reason FROM known WHERE reason IS NOT NULL
