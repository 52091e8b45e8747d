-- Batches that learn attribute values.
INSERT INTO order_attributes (name, value, created_at, saga, order_id)
SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4
FROM json_each(?1)
WHERE true
ON CONFLICT DO NOTHING
