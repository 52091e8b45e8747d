-- A batch that turned orders back by timeout, and what people change about a saga. By primary key.
UPDATE saga_states SET turned = n.value ->> 1, latched_at = n.value ->> 2, sequence = n.value ->> 3, head = unhex(n.value ->> 4)
FROM json_each(?1) AS n
WHERE saga_states.saga = n.value ->> 0
