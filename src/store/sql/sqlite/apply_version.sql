-- A version that a person applies again, after all others: new orders open on it. By primary key.
UPDATE definitions SET applied_at = max(?3, coalesce((SELECT max(applied_at) + 1 FROM definitions WHERE saga = ?1), 0))
WHERE saga = ?1 AND version = ?2
