-- Incidents: whoever saves holds the lease until he has. By primary key.
UPDATE leases SET lease_until = lease_until WHERE name = ?1 AND owner = ?2 AND lease_until > ?3
