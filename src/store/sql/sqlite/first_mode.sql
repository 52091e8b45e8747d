-- A definition that is applied: the mode of a new saga.
INSERT INTO sagas (saga, mode, changed_at) VALUES (?1, ?2, ?3) ON CONFLICT (saga) DO NOTHING
