-- Where a tap stands. By primary key.
SELECT name, watermark, committed_at, accepting_since, accepting_until, break_began, escrow_now() AS now FROM taps WHERE name = $1
