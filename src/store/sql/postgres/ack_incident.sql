-- Incidents: a person knows. By incidents_open.
UPDATE incidents SET acked_by = $2, acked_at = escrow_now(), acked_reason = $3 WHERE id = $1 AND status = 'open'
