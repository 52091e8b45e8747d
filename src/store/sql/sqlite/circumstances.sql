-- Every batch: the time after the locks, and what decisions depend on beside the orders. By primary keys and
-- doubts_of_order. Of doubts alike, one row says when they began and ended: whether an open order was there by then is all that
-- is asked, and a flood of them stays small.
SELECT ?5 AS now,
    (SELECT json_group_array(json_object('id', id, 'kind', kind, 'saga', saga, 'from', from_at, 'to', to_at,
            'event', event, 'order_id', order_id) ORDER BY id)
        FROM (
            SELECT max(id) AS id, kind, saga, min(from_at) AS from_at, max(to_at) AS to_at, event, NULL AS order_id
            FROM doubts
            WHERE resolved_at IS NULL AND order_id IS NULL AND (saga IS NULL OR saga IN (SELECT value FROM json_each(?4)))
            GROUP BY kind, saga, event
            UNION ALL
            SELECT max(d.id), d.kind, d.saga, min(d.from_at), max(d.to_at), d.event, d.order_id
            FROM json_each(?3) AS n
            CROSS JOIN doubts AS d ON d.order_id = n.value ->> 1 AND (d.saga IS NULL OR d.saga = n.value ->> 0)
            WHERE d.resolved_at IS NULL
            GROUP BY d.kind, d.saga, d.event, d.order_id
        )) AS doubts,
    (SELECT json_group_object(saga, mode) FROM sagas) AS modes,
    (SELECT last_batch FROM taps WHERE name = ?1) AS last_batch,
    (SELECT watermark FROM taps WHERE name = ?1) AS watermark,
    (SELECT committed_at FROM taps WHERE name = ?1) AS committed_at,
    (SELECT sequence FROM answers WHERE key = ?2) AS answered
