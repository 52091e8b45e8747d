-- The API and checks: the trail of one order. By journal (order_id, saga, sequence).
SELECT j.position, j.saga, j.order_id, j.sequence, j.at, j.kind, j.actor, j.body, j.hash,
    coalesce((SELECT o.version FROM orders AS o WHERE o.order_id = j.order_id AND o.saga = j.saga), 0) AS version,
    coalesce((SELECT o.earlier FROM orders AS o WHERE o.order_id = j.order_id AND o.saga = j.saga), '') AS earlier
FROM journal AS j
WHERE j.saga = ?1 AND j.order_id = ?2 AND j.sequence > ?3
ORDER BY j.sequence LIMIT ?4
