-- The API: the brakes of all sagas. A row for each saga.
SELECT saga, turned, latched_at, sequence, head FROM saga_states
