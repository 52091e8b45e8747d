-- Everyone: the time. No table.
SELECT ?1 AS now
