-- Walking all orders, by id and then saga: the primary key.
SELECT saga, order_id FROM orders WHERE (order_id, saga) > (?1, ?2) ORDER BY order_id, saga LIMIT ?3
