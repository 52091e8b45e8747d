-- A batch with arrivals: gives each saga the row that is locked next. By primary key.
INSERT INTO arrival_counters (saga, last)
SELECT value, 0 FROM json_each(?1) WHERE true
ON CONFLICT (saga) DO NOTHING
