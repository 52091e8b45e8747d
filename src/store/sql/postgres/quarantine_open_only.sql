-- Part 2, unless the resolved ones are asked for.
    AND resolved IS NULL
