-- Lists of orders, part 2: a merge over (saga, status). By orders_status.
FROM unnest($1::text[], $2::text[]) AS branch (a, b)
CROSS JOIN LATERAL (
    SELECT o.* FROM orders AS o
    WHERE o.saga = branch.a AND o.status = branch.b
