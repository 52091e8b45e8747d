-- Every batch: the time after the locks, and what decisions depend on beside the orders. By primary keys and doubts_open.
SELECT ?3 AS now,
    (SELECT json_group_array(json_object('id', id, 'kind', kind, 'saga', saga, 'from', from_at, 'to', to_at,
            'event', event, 'order_id', order_id) ORDER BY id)
        FROM doubts WHERE resolved_at IS NULL) AS doubts,
    (SELECT json_group_object(saga, mode) FROM sagas) AS modes,
    (SELECT last_batch FROM taps WHERE name = ?1) AS last_batch,
    (SELECT sequence FROM answers WHERE key = ?2) AS answered
