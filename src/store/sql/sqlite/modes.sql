-- The catalog: the mode of each saga; one row each.
SELECT saga, mode FROM sagas ORDER BY saga
