-- How the file is set, by name. Reads settings alone.
SELECT 'server_version' AS name, sqlite_version() AS value
