-- Lists of orders, part 3: after the cursor, and all that the filter says; an empty list says nothing.
    AND o.created_at <= ?2 AND (o.created_at < ?2 OR (o.saga, o.order_id) < (?3, ?4))
    AND (json_array_length(?5) = 0 OR o.saga IN (SELECT value FROM json_each(?5)))
    AND (json_array_length(?6) = 0 OR o.status IN (SELECT value FROM json_each(?6)))
    AND (json_array_length(?7) = 0 OR o.waiting IN (SELECT value FROM json_each(?7)))
    AND (json_array_length(?8) = 0 OR o.reason IN (SELECT value FROM json_each(?8)))
    AND (?9 IS NULL OR o.waiting_since < ?9)
    AND (?10 IS NULL OR o.stuck_step = ?10)
    AND NOT EXISTS (
        SELECT 1 FROM json_each(?11) AS want
        WHERE NOT EXISTS (
            SELECT 1 FROM order_attributes AS held
            WHERE held.name = want.value ->> 0 AND held.value = want.value ->> 1 AND held.created_at = o.created_at
                AND held.saga = o.saga AND held.order_id = o.order_id
        )
    )
