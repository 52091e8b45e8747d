-- The first orders of a version: its step names, for statistics. By primary key.
INSERT INTO step_names (saga, version, names)
SELECT value ->> 0, value ->> 1, value ->> 2 FROM json_each(?1) WHERE true
ON CONFLICT (saga, version) DO NOTHING
