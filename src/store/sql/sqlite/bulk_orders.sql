-- The API: the orders of a bulk action in their sequence. By primary key.
SELECT place, saga, order_id, outcome, sequence, detail, at FROM bulk_orders
WHERE id = ?1 AND place > ?2 AND (?3 IS NULL OR outcome = ?3)
ORDER BY place LIMIT ?4
