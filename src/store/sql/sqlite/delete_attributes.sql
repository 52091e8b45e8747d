-- Batches that replace attribute values. By primary key.
DELETE FROM order_attributes
WHERE (name, value, created_at, saga, order_id) IN (
    SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4 FROM json_each(?1)
)
