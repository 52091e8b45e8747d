-- Statistics: the new ones.
INSERT INTO step_stats (saga, version, step, closed, timed_out, samples, p50, p95, p99)
SELECT *
FROM unnest($1::text[], $2::bigint[], $3::text[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[], $8::bigint[], $9::bigint[])
    AS n (saga, version, step, closed, timed_out, samples, p50, p95, p99)
