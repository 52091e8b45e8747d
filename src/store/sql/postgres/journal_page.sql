-- The last part: newest first.
ORDER BY j.at DESC, j.position DESC LIMIT $8
