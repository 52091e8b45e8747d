-- Bulk actions: what the command became, if it was given before. By primary key.
SELECT sequence FROM answers WHERE key = ?1
