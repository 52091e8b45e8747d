-- Bulk actions: what became of an order. By primary key.
UPDATE bulk_orders SET outcome = ?3, sequence = ?4, detail = ?5, at = ?6
WHERE id = ?1 AND place = ?2 AND outcome IS NULL
