-- Bulk actions: the next order. By bulk_orders_open.
SELECT place, saga, order_id FROM bulk_orders WHERE id = ?1 AND outcome IS NULL ORDER BY place LIMIT 1
