-- The API: one message in quarantine. By primary key.
SELECT id, at, reason, detail, saga, event, order_id, exchange, routing_key, envelope, body, body_bytes, resolved, resolved_by, resolved_reason
FROM quarantine WHERE id = $1
