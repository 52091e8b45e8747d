-- Every batch: the messages of its entries.
INSERT INTO payloads (saga, order_id, sequence, salt, body, body_hash, envelope, exchange, routing_key, message_id)
SELECT *
FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bytea[], $5::bytea[], $6::bytea[], $7::text[], $8::text[], $9::text[], $10::text[])
    AS n (saga, order_id, sequence, salt, body, body_hash, envelope, exchange, routing_key, message_id)
