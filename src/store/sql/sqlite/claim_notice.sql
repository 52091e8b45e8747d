-- Alerting: leases the oldest row of a channel whose turn it is: a receiver must never hear of an end before its beginning, nor of
-- the next episode before the end of this one. By notices_available.
UPDATE notices
SET lease_owner = ?2, lease_until = ?4 + ?3, available_at = ?4 + ?3, tries = tries + 1
WHERE key IN (
    SELECT n.key FROM notices AS n
    WHERE n.channel = ?1 AND n.state = 'pending' AND n.available_at <= ?4
        AND NOT EXISTS (
            SELECT 1 FROM notices AS earlier
            WHERE earlier.channel = n.channel AND earlier.incident = n.incident AND earlier.state = 'pending'
                AND (earlier.episode, earlier.number) < (n.episode, n.number)
        )
    ORDER BY n.available_at LIMIT 1
)
RETURNING channel, number, kind, content, tries - 1 AS tries
