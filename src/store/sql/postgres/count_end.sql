-- Counts of orders, part 5.
) AS counted
