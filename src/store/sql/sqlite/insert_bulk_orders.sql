-- A bulk action begins: the orders its filter names, the oldest first. As lists of orders, whose other parts follow.
INSERT INTO bulk_orders (id, place, saga, order_id)
SELECT ?13, row_number() OVER (ORDER BY o.created_at, o.saga, o.order_id), o.saga, o.order_id
