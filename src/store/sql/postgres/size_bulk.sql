-- A bulk action begins: how many orders it has; with none it is done. By primary key.
UPDATE bulk_actions SET total = $2,
    state = CASE WHEN $2 = 0 THEN 'done' ELSE state END, ended_at = CASE WHEN $2 = 0 THEN created_at END
WHERE id = $1::uuid
