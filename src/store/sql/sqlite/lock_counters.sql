-- A batch with arrivals: one batch at a time numbers the orders of a saga. By primary key.
SELECT saga, last FROM arrival_counters WHERE saga IN (SELECT value FROM json_each(?1)) ORDER BY saga
