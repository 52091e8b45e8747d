-- Every batch: the time after the locks, and what decisions depend on beside the orders. By primary keys and doubts_open.
SELECT escrow_now() AS now,
    (SELECT coalesce(json_agg(json_build_object('id', id, 'kind', kind, 'saga', saga, 'from', from_at, 'to', to_at,
            'event', event, 'order_id', order_id) ORDER BY id), '[]')::text
        FROM doubts WHERE resolved_at IS NULL) AS doubts,
    (SELECT coalesce(json_object_agg(saga, mode), '{}')::text FROM sagas) AS modes,
    (SELECT last_batch FROM taps WHERE name = $1) AS last_batch,
    (SELECT sequence FROM answers WHERE key = $2) AS answered
