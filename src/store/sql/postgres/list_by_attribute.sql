-- Lists of orders, part 2: with one attribute value. By the primary key of order_attributes.
FROM unnest($1::text[], $2::text[]) AS branch (a, b)
CROSS JOIN LATERAL (
    SELECT o.* FROM order_attributes AS a
    JOIN orders AS o ON o.order_id = a.order_id AND o.saga = a.saga AND o.created_at = a.created_at
    WHERE a.name = branch.a AND a.value = branch.b
