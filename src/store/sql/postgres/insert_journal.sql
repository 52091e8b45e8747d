-- Every batch: its entries.
-- Positions are drawn now and seen at the commit, not in the same order. The gate holds, until the commit, a shared lock whose
-- number says where the sequence stood before the first of them: journal_horizon.sql reads no further than the least.
WITH gate AS MATERIALIZED (
    SELECT pg_advisory_xact_lock_shared((17747::bigint << 48) | CASE WHEN is_called THEN last_value ELSE 0 END)
    FROM journal_position
)
INSERT INTO journal (saga, order_id, sequence, at, kind, actor, body, hash)
SELECT n.saga, n.order_id, n.sequence, n.at, n.kind, n.actor, n.body, n.hash
FROM gate, unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[], $5::text[], $6::text[], $7::text[], $8::bytea[])
    AS n (saga, order_id, sequence, at, kind, actor, body, hash)
