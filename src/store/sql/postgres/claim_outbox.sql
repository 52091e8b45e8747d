-- The relay: leases rows whose turn it is. Leased rows leave the front of outbox_available until the lease ends.
WITH free AS (
    SELECT o.key, o.tries FROM outbox AS o
    WHERE o.state = 'pending' AND o.available_at <= escrow_now()
        AND NOT EXISTS (
            SELECT FROM outbox AS earlier
            WHERE earlier.order_id = o.order_id AND earlier.saga = o.saga AND earlier.state = 'pending'
                AND (earlier.sequence, earlier.place) < (o.sequence, o.place)
        )
    ORDER BY o.available_at LIMIT $3
    FOR UPDATE OF o SKIP LOCKED
)
UPDATE outbox AS o
SET lease_owner = $1::uuid, lease_until = escrow_now() + $2, available_at = escrow_now() + $2, tries = o.tries + 1
FROM free WHERE o.key = free.key
RETURNING o.key::text AS key, o.saga, o.order_id, o.sequence, o.place, o.message_id, o.content, free.tries, o.created_at
