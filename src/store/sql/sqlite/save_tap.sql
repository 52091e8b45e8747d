-- Batches of a tap: how far it is. The watermark never goes back. By primary key.
INSERT INTO taps (name, watermark, last_batch) VALUES (?1, ?2, ?3)
ON CONFLICT (name) DO UPDATE
SET watermark = max(coalesce(taps.watermark, excluded.watermark), coalesce(excluded.watermark, taps.watermark)),
    last_batch = excluded.last_batch
