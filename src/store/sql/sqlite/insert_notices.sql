-- Incidents: what is to be told; the same again is the same row. By primary key.
INSERT INTO notices (key, channel, incident, episode, number, kind, content, available_at, created_at)
SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 6, ?2, ?2
FROM json_each(?1)
WHERE true
ON CONFLICT (key) DO NOTHING
