-- A batch with arrivals: one batch at a time numbers the orders of a saga. By primary key.
SELECT saga, last FROM arrival_counters WHERE saga = ANY ($1::text[]) ORDER BY saga FOR UPDATE
