-- The coverage of a saga: a bounded number of rows. By primary key.
SELECT exchange, event, seen, last_at FROM event_sightings WHERE saga = ?1 ORDER BY exchange, event
