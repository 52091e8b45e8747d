-- Statistics: the newest orders of each saga and status, bounded. By orders_status.
SELECT o.saga, o.version, o.state, names.names
FROM unnest($1::text[], $2::text[]) AS branch (saga, status)
CROSS JOIN LATERAL (
    SELECT saga, version, state, updated_at FROM orders
    WHERE orders.saga = branch.saga AND orders.status = branch.status
    ORDER BY created_at DESC LIMIT $4
) AS o
JOIN step_names AS names ON names.saga = o.saga AND names.version = o.version
WHERE o.updated_at >= $3
