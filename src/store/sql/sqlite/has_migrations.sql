-- Whether any migration was ever applied here.
SELECT count(*) AS found FROM sqlite_master WHERE name = '_sqlx_migrations'
