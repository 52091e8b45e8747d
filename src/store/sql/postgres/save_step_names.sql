-- The first orders of a version: its step names, for statistics. By primary key.
INSERT INTO step_names (saga, version, names)
SELECT saga, version, names FROM unnest($1::text[], $2::bigint[], $3::text[]) AS n (saga, version, names)
ON CONFLICT (saga, version) DO NOTHING
