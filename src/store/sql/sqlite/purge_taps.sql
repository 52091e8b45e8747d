-- Housekeeping: forgets watermarks nobody has moved for long, of taps and of HTTP ingest that are gone. A handful of rows.
DELETE FROM taps WHERE max(coalesce(watermark, 0), coalesce(accepting_until, 0)) BETWEEN 1 AND ?1
