-- Where a tap stands. By primary key.
SELECT name, watermark, committed_at, accepting_since, accepting_until, break_began, ?2 AS now FROM taps WHERE name = ?1
