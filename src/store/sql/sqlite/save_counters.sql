-- A batch with arrivals: the last numbers given. By primary key.
INSERT INTO arrival_counters (saga, last)
SELECT value ->> 0, value ->> 1 FROM json_each(?1) WHERE true
ON CONFLICT (saga) DO UPDATE SET last = max(arrival_counters.last, excluded.last)
