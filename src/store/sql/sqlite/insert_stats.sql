-- Statistics: the new ones.
INSERT INTO step_stats (saga, version, step, closed, timed_out, samples, p50, p95, p99)
SELECT value ->> 0 AS saga, value ->> 1 AS version, value ->> 2 AS step, value ->> 3 AS closed, value ->> 4 AS timed_out, value ->> 5 AS samples, value ->> 6 AS p50, value ->> 7 AS p95,
        value ->> 8 AS p99
    FROM json_each(?1)
