-- Counts beyond the exact ones, part 1 of 2 (list_filter follows): as many as the planner expects.
SELECT '(rows=' || count(*) || ' ' AS "QUERY PLAN" FROM orders AS o
WHERE (?1 IS NULL OR ?12 IS NULL OR true)
