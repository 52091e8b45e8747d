-- The API and metrics: orders by saga and status. From orders_status alone.
SELECT saga, status, count(*) AS orders FROM orders GROUP BY saga, status ORDER BY saga, status
