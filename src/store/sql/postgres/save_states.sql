-- A batch that turned orders back by timeout, and what people change about a saga. By primary key.
UPDATE saga_states AS s SET turned = n.turned, latched_at = n.latched_at, sequence = n.sequence, head = n.head
FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[], $5::bytea[]) AS n (saga, turned, latched_at, sequence, head)
WHERE s.saga = n.saga
