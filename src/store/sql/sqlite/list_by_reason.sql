-- Lists of orders, part 2: a merge over reasons. By orders_stuck.
FROM json_each(?1) AS branch
CROSS JOIN orders AS o ON o.rowid IN (
    SELECT o.rowid FROM orders AS o
    WHERE o.reason = branch.value ->> 0
