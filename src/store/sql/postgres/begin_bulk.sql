-- A bulk action begins. By primary key.
INSERT INTO bulk_actions (id, ask, state, total, created_at, next_at)
VALUES ($1::uuid, $2, 'running', 0, escrow_now(), escrow_now())
ON CONFLICT (id) DO NOTHING
