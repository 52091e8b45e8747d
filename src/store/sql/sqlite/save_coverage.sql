-- Every batch: the events it met. What is named or known gets its own row; of strangers that are new, as many as there is room for, the
-- rest are counted together in the row without a name. By primary key; strangers are only counted, by event_sightings_strangers, when
-- there is a new one.
WITH n AS MATERIALIZED (
    SELECT j.value ->> 0 AS saga, j.value ->> 1 AS exchange, j.value ->> 2 AS event, j.value ->> 3 AS named, j.value ->> 4 AS seen,
        j.value ->> 3 = 0 AND NOT EXISTS (SELECT 1 FROM event_sightings AS k
            WHERE k.saga = j.value ->> 0 AND k.exchange = j.value ->> 1 AND k.event = j.value ->> 2) AS is_new
    FROM json_each(?1) AS j
), known AS MATERIALIZED (
    SELECT saga, count(*) AS strangers FROM event_sightings
    WHERE named = 0 AND event <> '' AND saga IN (SELECT saga FROM n WHERE is_new) GROUP BY saga
), placed AS (
    SELECT n.saga, n.exchange, n.event, n.named, n.seen, NOT n.is_new OR
        row_number() OVER (PARTITION BY n.saga, n.is_new ORDER BY n.exchange, n.event) + coalesce(known.strangers, 0) <= ?3 AS fits
    FROM n LEFT JOIN known ON known.saga = n.saga
)
INSERT INTO event_sightings (saga, exchange, event, named, seen, last_at)
SELECT saga, CASE WHEN fits THEN exchange ELSE '' END, CASE WHEN fits THEN event ELSE '' END, max(named), sum(seen), ?2
FROM placed WHERE true GROUP BY 1, 2, 3
ON CONFLICT (saga, exchange, event) DO UPDATE
SET named = excluded.named, seen = event_sightings.seen + excluded.seen, last_at = max(event_sightings.last_at, excluded.last_at)
