-- The API: how long steps take and how they end. By primary key.
SELECT saga, version, step, closed, timed_out, samples, p50, p95, p99 FROM step_stats WHERE saga = $1 ORDER BY version DESC, step
