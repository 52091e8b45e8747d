-- Alerting: leases the oldest row of a channel whose turn it is: a receiver must never hear of an end before its beginning, nor of
-- the next episode before the end of this one. By notices_available.
WITH free AS (
    SELECT n.key, n.tries FROM notices AS n
    WHERE n.channel = $1 AND n.state = 'pending' AND n.available_at <= escrow_now()
        AND NOT EXISTS (
            SELECT FROM notices AS earlier
            WHERE earlier.channel = n.channel AND earlier.incident = n.incident AND earlier.state = 'pending'
                AND (earlier.episode, earlier.number) < (n.episode, n.number)
        )
    ORDER BY n.available_at LIMIT 1
    FOR UPDATE OF n SKIP LOCKED
)
UPDATE notices AS n
SET lease_owner = $2::uuid, lease_until = escrow_now() + $3, available_at = escrow_now() + $3, tries = n.tries + 1
FROM free WHERE n.key = free.key
RETURNING n.channel, n.number, n.kind, n.content, free.tries
