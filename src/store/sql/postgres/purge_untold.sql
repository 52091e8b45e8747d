-- Housekeeping: forgets what could not be told for so long that it is of no use, as for a channel that was taken out. By
-- notices_turn.
DELETE FROM notices WHERE ctid IN (
    SELECT n.ctid FROM notices AS n
    WHERE n.state = 'pending' AND n.created_at < $1
        AND NOT EXISTS (SELECT 1 FROM incidents AS i WHERE i.id = n.incident AND i.episode = n.episode AND i.status = 'open')
    LIMIT $2
)
