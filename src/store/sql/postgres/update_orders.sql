-- Every batch: orders that changed; locked before, so their trail is as long as it was then. By primary key.
UPDATE orders AS o
SET version = n.version, status = n.status, state = n.state, seen = n.seen, attributes = n.attributes, next_due = n.next_due, waiting = n.waiting, waiting_since = n.waiting_since, reason = n.reason, stuck_step = n.stuck_step, stuck_since = n.stuck_since, updated_at = n.updated_at, sequence = n.sequence, head = n.head, duplicates = n.duplicates, earlier = n.earlier
FROM unnest($1::text[], $2::text[], $3::bigint[], $4::text[], $5::text[], $6::bytea[], $7::text[], $8::bigint[], $9::text[], $10::bigint[], $11::text[], $12::text[], $13::bigint[], $14::bigint[], $15::bigint[], $16::bigint[], $17::bytea[], $18::bigint[], $19::text[], $20::bigint[])
    AS n (saga, order_id, version, status, state, seen, attributes, next_due, waiting, waiting_since, reason, stuck_step, stuck_since, created_at, updated_at, sequence, head, duplicates, earlier, entries)
WHERE o.order_id = n.order_id AND o.saga = n.saga AND o.sequence = n.sequence - n.entries
