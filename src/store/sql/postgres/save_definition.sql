-- A definition that is applied, after all others, if no higher version is stored; the same meaning in other words replaces the
-- text. By primary key.
INSERT INTO definitions (saga, version, text, fingerprint, stored_at, applied_at)
SELECT $1::text, $2::bigint, $3::text, $4::bytea, escrow_now(), greatest(escrow_now(), (SELECT max(applied_at) + 1 FROM definitions WHERE saga = $1))
WHERE NOT EXISTS (SELECT 1 FROM definitions WHERE saga = $1 AND version > $2)
ON CONFLICT (saga, version) DO UPDATE SET text = excluded.text WHERE definitions.fingerprint = excluded.fingerprint
