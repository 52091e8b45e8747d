-- Stored messages of journal entries: for expressions, retries, people and checks. By primary key.
SELECT p.saga, p.order_id, p.sequence, p.salt, p.body, p.body_hash, p.envelope, p.exchange, p.routing_key, p.message_id
FROM unnest($1::text[], $2::text[], $3::bigint[])
    AS n (saga, order_id, sequence)
JOIN payloads AS p ON p.order_id = n.order_id AND p.saga = n.saga AND p.sequence = n.sequence
