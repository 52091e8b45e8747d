-- Events over HTTP are accepted now; a pause longer than given begins a new interval. By primary key.
UPDATE taps
SET accepting_until = max(coalesce(accepting_until, ?3), ?3),
    break_began = CASE WHEN accepting_until < ?3 - ?2 THEN accepting_until ELSE break_began END,
    accepting_since = CASE WHEN accepting_until >= ?3 - ?2 THEN accepting_since ELSE ?3 END
WHERE name = ?1
