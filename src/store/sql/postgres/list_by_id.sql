-- Lists of orders, part 2: of orders by their ids, each in one saga or, where that is empty, in all. By primary key.
FROM unnest($1::text[], $2::text[]) AS branch (a, b)
CROSS JOIN LATERAL (
    SELECT o.* FROM orders AS o
    WHERE o.order_id = branch.a AND (branch.b = '' OR o.saga = branch.b)
