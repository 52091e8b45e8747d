-- Part 2, where no events are asked for: lets the partial index be used.
    AND j.kind <> 'event'
