-- Lists of orders, part 2: of one id. By primary key.
FROM unnest($1::text[], $2::text[]) AS branch (a, b)
CROSS JOIN LATERAL (
    SELECT o.* FROM orders AS o
    WHERE o.order_id = branch.a
