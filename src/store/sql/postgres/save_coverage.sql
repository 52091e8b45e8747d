-- Every batch: the events it met. What is named or known gets its own row; of strangers that are new, as many as there is room for, the
-- rest are counted together in the row without a name. Rows are locked in key order. By primary key; strangers are only counted, by
-- event_sightings_strangers, when there is a new one.
WITH n AS MATERIALIZED (
    SELECT n.saga, n.exchange, n.event, n.named <> 0 AS named, n.seen, n.named = 0 AND k.saga IS NULL AS is_new
    FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::bigint[]) AS n (saga, exchange, event, named, seen)
    LEFT JOIN event_sightings AS k ON k.saga = n.saga AND k.exchange = n.exchange AND k.event = n.event
), known AS MATERIALIZED (
    SELECT saga, count(*) AS strangers FROM event_sightings
    WHERE NOT named AND event <> '' AND saga IN (SELECT saga FROM n WHERE is_new) GROUP BY saga
), placed AS (
    SELECT n.saga, n.exchange, n.event, n.named, n.seen, NOT n.is_new OR
        row_number() OVER (PARTITION BY n.saga, n.is_new ORDER BY n.exchange, n.event) + coalesce(known.strangers, 0) <= $7 AS fits
    FROM n LEFT JOIN known ON known.saga = n.saga
)
INSERT INTO event_sightings AS s (saga, exchange, event, named, seen, last_at)
SELECT saga, CASE WHEN fits THEN exchange ELSE '' END, CASE WHEN fits THEN event ELSE '' END, bool_or(named), sum(seen)::bigint, $6
FROM placed GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
ON CONFLICT (saga, exchange, event) DO UPDATE
SET named = excluded.named, seen = s.seen + excluded.seen, last_at = greatest(s.last_at, excluded.last_at)
