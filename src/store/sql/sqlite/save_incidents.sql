-- Incidents: as they are now; what a person acknowledged meanwhile stays. By primary key.
INSERT INTO incidents (id, episode, cause, saga, step, status, count, peak, first_at, last_at, opened_at, resolved_at, calm_since, samples, why, parent, told, told_at, told_count, told_to)
SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 6, value ->> 7, value ->> 8, value ->> 9, value ->> 10, value ->> 11, value ->> 12, value ->> 13, value ->> 14, value ->> 15, value ->> 16, value ->> 17, value ->> 18, value ->> 19
FROM json_each(?1)
WHERE true
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
