-- Bulk actions: when the next order is due, at the stated rate and without catching up. By primary key.
UPDATE bulk_actions SET next_at = max(next_at + ?2, ?3) WHERE id = ?1
