-- Batches with unreadable messages: their ids beforehand, so that doubts can name them.
SELECT nextval('quarantine_id') AS id FROM generate_series(1, $1::bigint)
