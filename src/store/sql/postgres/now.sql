-- Everyone: the time. No table.
SELECT escrow_now() AS now
