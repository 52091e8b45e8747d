-- Every batch: what it has to say.
INSERT INTO outbox (key, saga, order_id, sequence, place, message_id, content, asks, available_at, created_at)
SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 6, value ->> 7, ?2, ?2
FROM json_each(?1)
