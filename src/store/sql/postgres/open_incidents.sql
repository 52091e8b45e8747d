-- Incidents, part 2: all that are open, oldest first. By incidents_status.
FROM incidents AS i WHERE i.status = 'open' ORDER BY i.opened_at, i.id
