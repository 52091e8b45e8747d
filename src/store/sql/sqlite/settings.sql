-- How the file is set, by name. Reads settings alone.
SELECT 'server_version' AS name, sqlite_version() AS value
UNION ALL SELECT 'journal_mode', journal_mode FROM pragma_journal_mode
