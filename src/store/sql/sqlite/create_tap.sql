-- A tap that is seen for the first time.
INSERT INTO taps (name) VALUES (?1) ON CONFLICT (name) DO NOTHING
