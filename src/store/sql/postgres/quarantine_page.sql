-- The last part.
ORDER BY id DESC LIMIT $5
