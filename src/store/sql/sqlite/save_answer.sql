-- Commands with an Idempotency-Key: the first answer stays. By primary key.
INSERT INTO answers (key, sequence, made_at) VALUES (?1, ?2, ?3) ON CONFLICT (key) DO NOTHING
