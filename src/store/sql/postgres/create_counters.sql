-- A batch with arrivals: gives each saga the row that is locked next. By primary key.
INSERT INTO arrival_counters (saga, last)
SELECT saga, 0 FROM unnest($1::text[]) AS n (saga) ORDER BY saga
ON CONFLICT (saga) DO NOTHING
