-- Orders that turned back: what was to be asked and is not on its way is not asked any more. By outbox_turn.
UPDATE outbox AS o
SET state = 'settled', settled_at = $3, verdict = '{"verdict":"withheld","why":"withdrawn"}'
FROM unnest($1::text[], $2::text[])
    AS n (saga, order_id)
WHERE o.order_id = n.order_id AND o.saga = n.saga AND o.state = 'pending' AND o.asks
    AND (o.lease_until IS NULL OR o.lease_until <= $3)
