-- The relay: leases rows whose turn it is. Leased rows leave the front of outbox_available until the lease ends.
UPDATE outbox
SET lease_owner = ?1, lease_until = ?4 + ?2, available_at = ?4 + ?2, tries = tries + 1
WHERE key IN (
    SELECT o.key FROM outbox AS o
    WHERE o.state = 'pending' AND o.available_at <= ?4
        AND NOT EXISTS (
            SELECT 1 FROM outbox AS earlier
            WHERE earlier.order_id = o.order_id AND earlier.saga = o.saga AND earlier.state = 'pending'
                AND (earlier.sequence, earlier.place) < (o.sequence, o.place)
        )
    ORDER BY o.available_at LIMIT ?3
)
RETURNING key, saga, order_id, sequence, place, message_id, content, tries - 1 AS tries, created_at
