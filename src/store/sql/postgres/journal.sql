-- The API: entries of all orders, newest first. By journal_at; with the next part, by journal_acts.
SELECT j.position, j.saga, j.order_id, j.sequence, j.at, j.kind, j.actor, j.body, j.hash,
    coalesce((SELECT o.version FROM orders AS o WHERE o.order_id = j.order_id AND o.saga = j.saga), 0) AS version,
    coalesce((SELECT o.earlier FROM orders AS o WHERE o.order_id = j.order_id AND o.saga = j.saga), '') AS earlier
FROM journal AS j
WHERE j.at <= $1 AND (j.at < $1 OR j.position < $2)
    AND ($3::text IS NULL OR j.saga = $3)
    AND (cardinality($4::text[]) = 0 OR j.kind = ANY ($4))
    AND ($5::text IS NULL OR j.actor = $5)
    AND j.at >= $6 AND j.at < $7
