-- Lists of orders, part 2: of orders by their ids, each in one saga or, where that is empty, in all. By primary key.
FROM json_each(?1) AS branch
CROSS JOIN orders AS o ON o.rowid IN (
    SELECT o.rowid FROM orders AS o
    WHERE o.order_id = branch.value ->> 0 AND (branch.value ->> 1 = '' OR o.saga = branch.value ->> 1)
