-- Batches that learn attribute values.
INSERT INTO order_attributes (name, value, created_at, saga, order_id)
SELECT name, value, created_at, saga, order_id
FROM unnest($1::text[], $2::text[], $3::bigint[], $4::text[], $5::text[])
    AS n (name, value, created_at, saga, order_id)
ON CONFLICT DO NOTHING
