-- Housekeeping: forgets what is old, some thousands at a time, and after its notices: an episode counted anew must not find theirs.
-- By incidents_resolved.
DELETE FROM incidents WHERE rowid IN (
    SELECT i.rowid FROM incidents AS i
    WHERE i.resolved_at < ?1
        AND NOT EXISTS (SELECT 1 FROM notices AS n WHERE n.incident = i.id AND n.episode = i.episode)
    LIMIT ?2
)
