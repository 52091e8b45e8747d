-- Statistics: the new ones.
INSERT INTO step_stats (saga, version, step, samples, p50, p95, p99)
SELECT value ->> 0 AS saga, value ->> 1 AS version, value ->> 2 AS step, value ->> 3 AS samples, value ->> 4 AS p50, value ->> 5 AS p95, value ->> 6 AS p99
    FROM json_each(?1)
