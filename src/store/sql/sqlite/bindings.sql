-- The watched exchanges of a tap. By primary key.
SELECT exchange, bound, absent_at, bound_at, problem, keys FROM bindings WHERE tap = ?1 ORDER BY exchange
