-- Batches with unreadable messages.
INSERT INTO quarantine (id, reason, detail, saga, event, order_id, exchange, routing_key, envelope, body, body_bytes, at)
SELECT n.*, ?2
FROM (SELECT value ->> 0 AS id, value ->> 1 AS reason, value ->> 2 AS detail, value ->> 3 AS saga, value ->> 4 AS event, value ->> 5 AS order_id, value ->> 6 AS exchange, value ->> 7 AS routing_key, value ->> 8 AS envelope, unhex(value ->> 9) AS body, value ->> 10 AS body_bytes
    FROM json_each(?1)) AS n
