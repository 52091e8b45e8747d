-- A saga's brake or own trail is touched for the first time: gives it the row that is locked next. By primary key.
INSERT INTO saga_states (saga, turned, sequence, head)
SELECT saga, '[]', 0, decode(repeat('00', 32), 'hex') FROM unnest($1::text[]) AS n (saga) ORDER BY saga
ON CONFLICT (saga) DO NOTHING
