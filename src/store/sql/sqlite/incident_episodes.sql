-- Incidents, part 2: the episodes of one, newest first. By primary key.
FROM incidents AS i WHERE i.id = ?1 ORDER BY i.episode DESC LIMIT ?2
