-- A batch with arrivals: the last numbers given. By primary key.
INSERT INTO arrival_counters (saga, last)
SELECT saga, last FROM unnest($1::text[], $2::bigint[]) AS n (saga, last)
ON CONFLICT (saga) DO UPDATE SET last = greatest(arrival_counters.last, excluded.last)
