-- Counts beyond the exact ones, part 1 of 2 (list_filter follows): as many as the planner expects.
EXPLAIN SELECT 1 FROM orders AS o
WHERE ($1::text[] IS NULL OR $2::text[] IS NULL OR $14::bigint IS NULL OR true)
