-- Every batch: the messages of its entries.
INSERT INTO payloads (saga, order_id, sequence, salt, body, body_hash, envelope, exchange, routing_key, message_id)
SELECT value ->> 0 AS saga, value ->> 1 AS order_id, value ->> 2 AS sequence, unhex(value ->> 3) AS salt, unhex(value ->> 4) AS body, unhex(value ->> 5) AS body_hash, value ->> 6 AS envelope, value ->> 7 AS exchange, value ->> 8 AS routing_key, value ->> 9 AS message_id
    FROM json_each(?1)
