-- Every batch: orders that begin. Fewer rows than given means that someone else began one meanwhile.
INSERT INTO orders (saga, order_id, version, status, state, seen, attributes, next_due, waiting, waiting_since, reason, stuck_step, stuck_since, created_at, updated_at, sequence, head, duplicates, earlier)
SELECT saga, order_id, version, status, state, seen, attributes, next_due, waiting, waiting_since, reason, stuck_step, stuck_since, created_at, updated_at, sequence, head, duplicates, earlier
FROM unnest($1::text[], $2::text[], $3::bigint[], $4::text[], $5::text[], $6::bytea[], $7::text[], $8::bigint[], $9::text[], $10::bigint[], $11::text[], $12::text[], $13::bigint[], $14::bigint[], $15::bigint[], $16::bigint[], $17::bytea[], $18::bigint[], $19::text[], $20::bigint[])
    AS n (saga, order_id, version, status, state, seen, attributes, next_due, waiting, waiting_since, reason, stuck_step, stuck_since, created_at, updated_at, sequence, head, duplicates, earlier, entries)
ORDER BY saga, order_id
ON CONFLICT (order_id, saga) DO NOTHING
