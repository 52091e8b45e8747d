-- What a look at an exchange found; the last moments stay. By primary key.
INSERT INTO bindings (tap, exchange, bound, absent_at, bound_at, problem, keys) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
ON CONFLICT (tap, exchange) DO UPDATE
SET bound = excluded.bound, problem = excluded.problem, keys = excluded.keys,
    absent_at = max(coalesce(absent_at, excluded.absent_at), coalesce(excluded.absent_at, absent_at)),
    bound_at = max(coalesce(bound_at, excluded.bound_at), coalesce(excluded.bound_at, bound_at))
