-- Events over HTTP are accepted now; a pause longer than given begins a new interval. By primary key.
UPDATE taps
SET accepting_until = greatest(accepting_until, escrow_now()),
    break_began = CASE WHEN accepting_until < escrow_now() - $2 THEN accepting_until ELSE break_began END,
    accepting_since = CASE WHEN accepting_until >= escrow_now() - $2 THEN accepting_since ELSE escrow_now() END
WHERE name = $1
