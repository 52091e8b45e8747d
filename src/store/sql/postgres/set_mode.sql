-- Changing a mode. By primary key.
INSERT INTO sagas (saga, mode, changed_at) VALUES ($1, $2, escrow_now())
ON CONFLICT (saga) DO UPDATE SET mode = excluded.mode, changed_at = excluded.changed_at
