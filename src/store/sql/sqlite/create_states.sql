-- A saga's brake or own trail is touched for the first time: gives it the row that is locked next. By primary key.
INSERT INTO saga_states (saga, turned, sequence, head)
SELECT value, '[]', 0, zeroblob(32) FROM json_each(?1) WHERE true
ON CONFLICT (saga) DO NOTHING
