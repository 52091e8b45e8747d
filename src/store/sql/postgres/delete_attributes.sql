-- Batches that replace attribute values. By primary key.
DELETE FROM order_attributes AS a
USING unnest($1::text[], $2::text[], $3::bigint[], $4::text[], $5::text[])
    AS n (name, value, created_at, saga, order_id)
WHERE a.name = n.name AND a.value = n.value AND a.created_at = n.created_at AND a.saga = n.saga AND a.order_id = n.order_id
