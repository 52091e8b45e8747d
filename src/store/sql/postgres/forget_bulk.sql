-- A bulk action that names too many orders does not begin. By primary key.
DELETE FROM bulk_actions WHERE id = $1::uuid
