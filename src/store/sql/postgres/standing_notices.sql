-- Alerting: what a channel knows to last, as it was told last; and what it was told lately is over, unless it began again. By
-- incidents_open, notices_incident and notices_settled.
SELECT n.content FROM incidents AS i
JOIN notices AS n ON n.incident = i.id AND n.episode = i.episode
WHERE i.status = 'open' AND n.channel = $1 AND n.state = 'settled'
    AND NOT EXISTS (
        SELECT 1 FROM notices AS later
        WHERE later.incident = n.incident AND later.episode = n.episode AND later.channel = n.channel
            AND later.state = 'settled' AND later.number > n.number
    )
UNION ALL
SELECT n.content FROM notices AS n
WHERE n.state = 'settled' AND n.settled_at >= escrow_now() - $2::bigint AND n.channel = $1 AND n.kind = 'resolve'
    AND NOT EXISTS (
        SELECT 1 FROM notices AS later
        WHERE later.incident = n.incident AND later.channel = n.channel AND later.episode > n.episode
    )
