-- An exchange that is watched no more. By primary key.
DELETE FROM bindings WHERE tap = ?1 AND exchange = ?2
