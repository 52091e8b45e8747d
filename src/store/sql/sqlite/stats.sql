-- The API: how long steps take. By primary key.
SELECT saga, version, step, samples, p50, p95, p99 FROM step_stats WHERE saga = ?1 ORDER BY version DESC, step
