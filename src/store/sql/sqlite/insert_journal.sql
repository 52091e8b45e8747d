-- Every batch: its entries.
INSERT INTO journal (saga, order_id, sequence, at, kind, actor, body, hash)
SELECT value ->> 0 AS saga, value ->> 1 AS order_id, value ->> 2 AS sequence, value ->> 3 AS at, value ->> 4 AS kind, value ->> 5 AS actor, value ->> 6 AS body, unhex(value ->> 7) AS hash
    FROM json_each(?1)
