-- Incidents: as they are now; what a person acknowledged meanwhile stays. By primary key.
INSERT INTO incidents (id, episode, cause, saga, step, status, count, peak, first_at, last_at, opened_at, resolved_at, calm_since, samples, why, parent, told, told_at, told_count, told_to)
SELECT *
FROM unnest($1::text[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::text[], $7::bigint[], $8::bigint[], $9::bigint[], $10::bigint[], $11::bigint[], $12::bigint[], $13::bigint[], $14::text[], $15::text[], $16::text[], $17::bigint[], $18::bigint[], $19::bigint[], $20::text[])
    AS n (id, episode, cause, saga, step, status, count, peak, first_at, last_at, opened_at, resolved_at, calm_since, samples, why, parent, told, told_at, told_count, told_to)
ON CONFLICT (id, episode) DO UPDATE SET
    status = excluded.status,
    count = excluded.count,
    peak = excluded.peak,
    first_at = excluded.first_at,
    last_at = excluded.last_at,
    resolved_at = excluded.resolved_at,
    calm_since = excluded.calm_since,
    samples = excluded.samples,
    why = excluded.why,
    parent = excluded.parent,
    told = excluded.told,
    told_at = excluded.told_at,
    told_count = excluded.told_count,
    told_to = excluded.told_to
