-- Batches of a tap that begin orders: a gap the watermark has not passed yet may have swallowed messages of an order whose
-- first event was still on its way then, so it reaches to here. By doubts_open; there are few.
UPDATE doubts SET to_at = $2
WHERE resolved_at IS NULL AND kind = 'gap' AND to_at < $2
    AND made_at >= coalesce((SELECT watermark FROM taps WHERE name = $1), made_at)
