-- Batches with unreadable messages.
INSERT INTO quarantine (id, reason, detail, saga, event, order_id, exchange, routing_key, envelope, body, body_bytes, at)
SELECT n.*, $12
FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[], $10::bytea[], $11::bigint[])
    AS n (id, reason, detail, saga, event, order_id, exchange, routing_key, envelope, body, body_bytes)
