-- Changing a mode: who did it and why, in the saga's log.
INSERT INTO saga_log (saga, what, detail, actor, reason, at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
