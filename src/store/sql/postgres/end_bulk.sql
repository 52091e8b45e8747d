-- Bulk actions: done, unless an order is left. By primary key and bulk_orders_open.
UPDATE bulk_actions AS b SET state = 'done', ended_at = escrow_now()
WHERE b.id = $1::uuid AND b.state = 'running'
    AND NOT EXISTS (SELECT FROM bulk_orders AS o WHERE o.id = b.id AND o.outcome IS NULL)
