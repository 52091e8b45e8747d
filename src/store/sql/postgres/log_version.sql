-- Applying a version again: who did it and why, in the saga's log.
INSERT INTO saga_log (saga, what, detail, actor, reason, at) VALUES ($1, 'version', $2, $3, $4, escrow_now())
