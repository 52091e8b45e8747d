-- Housekeeping: forgets what is old, some thousands at a time, and after its notices: an episode counted anew must not find theirs.
-- By incidents_resolved.
DELETE FROM incidents WHERE ctid IN (
    SELECT i.ctid FROM incidents AS i
    WHERE i.resolved_at < $1
        AND NOT EXISTS (SELECT FROM notices AS n WHERE n.incident = i.id AND n.episode = i.episode)
    LIMIT $2
)
