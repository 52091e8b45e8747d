-- Bulk actions: when the next order is due, at the stated rate and without catching up. By primary key.
UPDATE bulk_actions SET next_at = greatest(next_at + $2, escrow_now()) WHERE id = $1::uuid
