-- Lists of orders, part 2: of one id. By primary key.
FROM json_each(?1) AS branch
CROSS JOIN orders AS o ON o.rowid IN (
    SELECT o.rowid FROM orders AS o
    WHERE o.order_id = branch.value ->> 0
