-- Statistics: makes room for the new ones; one row for each step.
DELETE FROM step_stats
