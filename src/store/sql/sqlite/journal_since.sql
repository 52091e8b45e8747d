-- The live stream: entries after a position, oldest first. By primary key.
SELECT j.position, j.saga, j.order_id, j.sequence, j.at, j.kind, j.actor, j.body, j.hash,
    coalesce((SELECT o.version FROM orders AS o WHERE o.order_id = j.order_id AND o.saga = j.saga), 0) AS version,
    coalesce((SELECT o.earlier FROM orders AS o WHERE o.order_id = j.order_id AND o.saga = j.saga), '') AS earlier
FROM journal AS j
WHERE j.position > ?1 AND j.position <= ?2
ORDER BY j.position LIMIT ?3
