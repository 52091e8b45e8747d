-- Incidents: what is to be told; the same again is the same row. By primary key.
INSERT INTO notices (key, channel, incident, episode, number, kind, content, available_at, created_at)
SELECT key::uuid, channel, incident, episode, number, kind, content, escrow_now(), escrow_now()
FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::bigint[], $6::text[], $7::text[])
    AS n (key, channel, incident, episode, number, kind, content)
ON CONFLICT (key) DO NOTHING
