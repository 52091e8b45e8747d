-- Batches, and what finds gaps.
INSERT INTO doubts (kind, saga, from_at, to_at, event, order_id, detail, quarantine_id, made_at)
SELECT n.*, $9
FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[], $5::text[], $6::text[], $7::text[], $8::bigint[])
    AS n (kind, saga, from_at, to_at, event, order_id, detail, quarantine_id)
