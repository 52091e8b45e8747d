-- A bulk action that names too many orders does not begin. By primary key.
DELETE FROM bulk_orders WHERE id = ?1
