-- Bulk actions: done, unless an order is left. By primary key and bulk_orders_open.
UPDATE bulk_actions AS b SET state = 'done', ended_at = ?2
WHERE b.id = ?1 AND b.state = 'running'
    AND NOT EXISTS (SELECT 1 FROM bulk_orders AS o WHERE o.id = b.id AND o.outcome IS NULL)
