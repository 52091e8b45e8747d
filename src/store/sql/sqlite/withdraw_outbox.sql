-- Orders that turned back: what was to be asked and is not on its way is not asked any more. By outbox_turn.
UPDATE outbox
SET state = 'settled', settled_at = ?2, verdict = '{"verdict":"withheld","why":"withdrawn"}'
WHERE (order_id, saga) IN (SELECT value ->> 1, value ->> 0 FROM json_each(?1)) AND state = 'pending' AND asks
    AND (lease_until IS NULL OR lease_until <= ?2)
