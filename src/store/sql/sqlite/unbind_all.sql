-- A tap is taken from everything it is bound to: from this moment on, what is published there is unseen. By primary key.
UPDATE bindings SET bound = FALSE, keys = NULL, problem = ?2, absent_at = max(coalesce(absent_at, ?3), ?3) WHERE tap = ?1 AND bound
