-- Lists of orders, part 3: after the cursor, and all that the filter says; an empty list says nothing.
    AND o.created_at <= $3::bigint AND (o.created_at < $3::bigint OR (o.saga, o.order_id) < ($4::text, $5::text))
    AND (cardinality($6::text[]) = 0 OR o.saga = ANY ($6))
    AND (cardinality($7::text[]) = 0 OR o.status = ANY ($7))
    AND (cardinality($8::text[]) = 0 OR o.waiting = ANY ($8))
    AND (cardinality($9::text[]) = 0 OR o.reason = ANY ($9))
    AND ($10::bigint IS NULL OR o.waiting_since < $10::bigint)
    AND ($11::text IS NULL OR o.stuck_step = $11::text)
    AND NOT EXISTS (
        SELECT FROM unnest($12::text[], $13::text[]) AS want (name, value)
        WHERE NOT EXISTS (
            SELECT FROM order_attributes AS held
            WHERE held.name = want.name AND held.value = want.value AND held.created_at = o.created_at
                AND held.saga = o.saga AND held.order_id = o.order_id
        )
    )
