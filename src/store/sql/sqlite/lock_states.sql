-- A batch that may turn orders back by timeout, and what people change about a saga: one at a time. By primary key.
SELECT saga, turned, latched_at, sequence, head FROM saga_states WHERE saga IN (SELECT value FROM json_each(?1)) ORDER BY saga
