-- Every batch: the time after the locks, and what decisions depend on beside the orders. By primary keys and
-- doubts_of_order. Of doubts alike, one row says when they began and ended: whether an open order was there by then is all that
-- is asked, and a flood of them stays small.
SELECT escrow_now() AS now,
    (SELECT coalesce(json_agg(json_build_object('id', id, 'kind', kind, 'saga', saga, 'from', from_at, 'to', to_at,
            'event', event, 'order_id', order_id) ORDER BY id), '[]')::text
        FROM (
            SELECT max(id) AS id, kind, saga, min(from_at) AS from_at, max(to_at) AS to_at, event, NULL AS order_id
            FROM doubts
            WHERE resolved_at IS NULL AND order_id IS NULL AND (saga IS NULL OR saga = ANY ($5::text[]))
            GROUP BY kind, saga, event
            UNION ALL
            SELECT max(d.id), d.kind, d.saga, min(d.from_at), max(d.to_at), d.event, d.order_id
            FROM unnest($3::text[], $4::text[]) AS n (saga, order_id)
            JOIN doubts AS d ON d.order_id = n.order_id AND (d.saga IS NULL OR d.saga = n.saga)
            WHERE d.resolved_at IS NULL
            GROUP BY d.kind, d.saga, d.event, d.order_id
        ) AS doubted) AS doubts,
    (SELECT coalesce(json_object_agg(saga, mode), '{}')::text FROM sagas) AS modes,
    (SELECT last_batch FROM taps WHERE name = $1) AS last_batch,
    (SELECT watermark FROM taps WHERE name = $1) AS watermark,
    (SELECT committed_at FROM taps WHERE name = $1) AS committed_at,
    (SELECT sequence FROM answers WHERE key = $2) AS answered
