-- The API: messages in quarantine, newest first. By primary key; with the next part, by quarantine_open.
SELECT id, at, reason, detail, saga, event, order_id, exchange, routing_key, envelope, body, body_bytes, resolved, resolved_by, resolved_reason
FROM quarantine
WHERE id < ?1
    AND (?2 IS NULL OR saga = ?2) AND (?3 IS NULL OR reason = ?3) AND (?4 IS NULL OR exchange = ?4)
