-- The live stream: up to which position everything is committed or never will be. No table.
-- First the sequence, then the gates of insert_journal.sql, then (in a statement of its own) the entries: a position up to
-- this horizon was drawn before the sequence was read, under a lock below it; were that lock still held, the horizon would be lower.
SELECT least(
    (drawn.last_value),
    (
        SELECT min(((held.classid::bigint & 65535) << 32) | held.objid::bigint) FROM pg_locks AS held
        WHERE held.locktype = 'advisory' AND held.objsubid = 1 AND held.granted
            AND held.database = (SELECT oid FROM pg_database WHERE datname = current_database())
            AND (held.classid::bigint >> 16) = 17747 AND drawn.last_value > 0
    )
) AS horizon
FROM journal_position AS drawn
