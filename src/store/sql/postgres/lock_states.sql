-- A batch that may turn orders back by timeout, and what people change about a saga: one at a time. By primary key.
SELECT saga, turned, latched_at, sequence, head FROM saga_states WHERE saga = ANY ($1::text[]) ORDER BY saga FOR UPDATE
