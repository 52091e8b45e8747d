-- Housekeeping: forgets what was told long ago, some thousands at a time; of what still lasts, nothing is forgotten: an Alertmanager
-- is told of it again and again. By notices_settled.
DELETE FROM notices WHERE ctid IN (
    SELECT n.ctid FROM notices AS n
    WHERE n.state = 'settled' AND n.settled_at < $1
        AND NOT EXISTS (SELECT 1 FROM incidents AS i WHERE i.id = n.incident AND i.episode = n.episode AND i.status = 'open')
    LIMIT $2
)
