-- Statistics: the newest orders of each saga and status, bounded. By orders_status.
SELECT o.saga, o.version, o.state, names.names
FROM json_each(?1) AS branch
CROSS JOIN orders AS o ON o.rowid IN (
    SELECT rowid FROM orders
    WHERE orders.saga = branch.value ->> 0 AND orders.status = branch.value ->> 1
    ORDER BY created_at DESC LIMIT ?3
)
JOIN step_names AS names ON names.saga = o.saga AND names.version = o.version
WHERE o.updated_at >= ?2
