-- Batches of a tap: how far it is, and when the last was committed. Neither ever goes back. By primary key.
INSERT INTO taps (name, watermark, last_batch, committed_at) VALUES (?1, ?2, ?3, ?4)
ON CONFLICT (name) DO UPDATE
SET watermark = max(coalesce(taps.watermark, excluded.watermark), coalesce(excluded.watermark, taps.watermark)),
    last_batch = excluded.last_batch,
    committed_at = max(coalesce(taps.committed_at, excluded.committed_at), excluded.committed_at)
