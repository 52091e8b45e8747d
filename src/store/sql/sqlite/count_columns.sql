-- Counts of orders, part 1.
SELECT count(*) AS counted FROM (SELECT 1
