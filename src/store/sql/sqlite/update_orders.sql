-- Every batch: orders that changed; locked before, so their trail is as long as it was then. By primary key.
UPDATE orders AS o
SET version = n.version, status = n.status, state = n.state, seen = n.seen, attributes = n.attributes, next_due = n.next_due, waiting = n.waiting, waiting_since = n.waiting_since, reason = n.reason, stuck_step = n.stuck_step, stuck_since = n.stuck_since, updated_at = n.updated_at, sequence = n.sequence, head = n.head, duplicates = n.duplicates, earlier = n.earlier
FROM (SELECT value ->> 0 AS saga, value ->> 1 AS order_id, value ->> 2 AS version, value ->> 3 AS status, value ->> 4 AS state, unhex(value ->> 5) AS seen, value ->> 6 AS attributes, value ->> 7 AS next_due, value ->> 8 AS waiting, value ->> 9 AS waiting_since, value ->> 10 AS reason, value ->> 11 AS stuck_step, value ->> 12 AS stuck_since, value ->> 13 AS created_at, value ->> 14 AS updated_at, value ->> 15 AS sequence, unhex(value ->> 16) AS head, value ->> 17 AS duplicates, value ->> 18 AS earlier, value ->> 19 AS entries
    FROM json_each(?1)) AS n
WHERE o.order_id = n.order_id AND o.saga = n.saga AND o.sequence = n.sequence - n.entries
