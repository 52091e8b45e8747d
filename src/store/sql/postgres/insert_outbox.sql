-- Every batch: what it has to say.
INSERT INTO outbox (key, saga, order_id, sequence, place, message_id, content, asks, available_at, created_at)
SELECT key::uuid, saga, order_id, sequence, place, message_id, content, asks <> 0, $9, $9
FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::bigint[], $6::text[], $7::text[], $8::bigint[])
    AS n (key, saga, order_id, sequence, place, message_id, content, asks)
