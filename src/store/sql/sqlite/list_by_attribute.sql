-- Lists of orders, part 2: with one attribute value. By the primary key of order_attributes.
FROM json_each(?1) AS branch
CROSS JOIN orders AS o ON o.rowid IN (
    SELECT o.rowid FROM order_attributes AS a
    CROSS JOIN orders AS o ON o.order_id = a.order_id AND o.saga = a.saga
    WHERE a.name = branch.value ->> 0 AND a.value = branch.value ->> 1
