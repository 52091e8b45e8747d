-- Stored messages of journal entries: for expressions, retries, people and checks. By primary key.
SELECT p.saga, p.order_id, p.sequence, p.salt, p.body, p.body_hash, p.envelope, p.exchange, p.routing_key, p.message_id
FROM json_each(?1) AS n
CROSS JOIN payloads AS p
    ON p.order_id = n.value ->> 1 AND p.saga = n.value ->> 0 AND p.sequence = n.value ->> 2
