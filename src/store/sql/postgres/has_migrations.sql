-- Whether any migration was ever applied here.
SELECT (to_regclass('_sqlx_migrations') IS NOT NULL)::int::bigint AS found
