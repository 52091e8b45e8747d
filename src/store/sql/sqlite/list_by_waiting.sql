-- Lists of orders, part 2: a merge over sets of awaited steps. By orders_waiting.
FROM json_each(?1) AS branch
CROSS JOIN orders AS o ON o.rowid IN (
    SELECT o.rowid FROM orders AS o
    WHERE o.waiting = branch.value ->> 0 AND o.waiting <> ''
