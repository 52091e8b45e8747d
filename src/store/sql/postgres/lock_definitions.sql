-- A definition that is applied: one at a time, so that what is stored last is the highest version. Ends with the transaction.
SELECT pg_advisory_xact_lock(hashtext('escrow definitions'))::text AS locked
