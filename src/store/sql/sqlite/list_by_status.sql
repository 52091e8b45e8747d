-- Lists of orders, part 2: a merge over (saga, status). By orders_status.
FROM json_each(?1) AS branch
CROSS JOIN orders AS o ON o.rowid IN (
    SELECT o.rowid FROM orders AS o
    WHERE o.saga = branch.value ->> 0 AND o.status = branch.value ->> 1
