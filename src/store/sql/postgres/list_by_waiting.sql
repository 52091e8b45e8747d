-- Lists of orders, part 2: a merge over sets of awaited steps. By orders_waiting.
FROM unnest($1::text[], $2::text[]) AS branch (a, b)
CROSS JOIN LATERAL (
    SELECT o.* FROM orders AS o
    WHERE o.waiting = branch.a AND o.waiting <> ''
