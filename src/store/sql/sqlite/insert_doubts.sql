-- Batches, and what finds gaps.
INSERT INTO doubts (kind, saga, from_at, to_at, event, order_id, detail, quarantine_id, made_at)
SELECT n.*, ?2
FROM (SELECT value ->> 0 AS kind, value ->> 1 AS saga, value ->> 2 AS from_at, value ->> 3 AS to_at, value ->> 4 AS event, value ->> 5 AS order_id, value ->> 6 AS detail, value ->> 7 AS quarantine_id
    FROM json_each(?1)) AS n
