-- Alerting: gives a lease back, with why, if it is still the owner's. By primary key.
UPDATE notices
SET lease_owner = NULL, lease_until = NULL, available_at = ?5 + ?3, problem = ?4
WHERE key = ?1 AND lease_owner = ?2 AND state = 'pending'
