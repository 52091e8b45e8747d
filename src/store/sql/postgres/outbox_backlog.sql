-- Status and metrics: what waits and since when. The pending rows only, by a partial index.
SELECT count(*) AS waiting, min(created_at) AS oldest FROM outbox WHERE state = 'pending'
