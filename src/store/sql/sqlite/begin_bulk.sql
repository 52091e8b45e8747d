-- A bulk action begins. By primary key.
INSERT INTO bulk_actions (id, ask, state, total, created_at, next_at) VALUES (?1, ?2, 'running', 0, ?3, ?3)
ON CONFLICT (id) DO NOTHING
