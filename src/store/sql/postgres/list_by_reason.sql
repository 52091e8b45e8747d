-- Lists of orders, part 2: a merge over reasons. By orders_stuck.
FROM unnest($1::text[], $2::text[]) AS branch (a, b)
CROSS JOIN LATERAL (
    SELECT o.* FROM orders AS o
    WHERE o.reason = branch.a
