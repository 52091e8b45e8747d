-- How the server is set, by name. Reads settings alone.
SELECT name, setting AS value FROM pg_settings
WHERE name IN ('server_version', 'server_version_num', 'fsync', 'full_page_writes', 'synchronous_commit',
               'synchronous_standby_names', 'default_transaction_read_only')
UNION ALL SELECT 'in_recovery', pg_is_in_recovery()::text
UNION ALL SELECT 'now', (extract(epoch FROM statement_timestamp()) * 1000000)::bigint::text
