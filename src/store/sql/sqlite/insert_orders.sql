-- Every batch: orders that begin. Fewer rows than given means that someone else began one meanwhile.
INSERT INTO orders (saga, order_id, version, status, state, seen, attributes, next_due, waiting, waiting_since, reason, stuck_step, stuck_since, created_at, updated_at, sequence, head, duplicates, earlier)
SELECT saga, order_id, version, status, state, seen, attributes, next_due, waiting, waiting_since, reason, stuck_step, stuck_since, created_at, updated_at, sequence, head, duplicates, earlier
FROM (SELECT value ->> 0 AS saga, value ->> 1 AS order_id, value ->> 2 AS version, value ->> 3 AS status, value ->> 4 AS state, unhex(value ->> 5) AS seen, value ->> 6 AS attributes, value ->> 7 AS next_due, value ->> 8 AS waiting, value ->> 9 AS waiting_since, value ->> 10 AS reason, value ->> 11 AS stuck_step, value ->> 12 AS stuck_since, value ->> 13 AS created_at, value ->> 14 AS updated_at, value ->> 15 AS sequence, unhex(value ->> 16) AS head, value ->> 17 AS duplicates, value ->> 18 AS earlier, value ->> 19 AS entries
    FROM json_each(?1)) AS n
WHERE true
ON CONFLICT (order_id, saga) DO NOTHING
