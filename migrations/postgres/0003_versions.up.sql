-- Orders that move to another version, versions that are applied again, what the tap is bound to, and when it was last read.

-- The versions an order was on before, each with its last journal entry then: '1 17,2 40'. Its entries number their steps.
ALTER TABLE orders ADD COLUMN earlier text NOT NULL DEFAULT '';
-- New orders open on the version applied last.
ALTER TABLE definitions ADD COLUMN applied_at bigint NOT NULL DEFAULT 0;
UPDATE definitions SET applied_at = stored_at;
-- The keys known to be bound, as JSON; null where nobody has written them down yet.
ALTER TABLE bindings ADD COLUMN keys text;
-- When the last batch of a tap was committed; never goes back: a database that has forgotten that was set back.
ALTER TABLE taps ADD COLUMN committed_at bigint;
