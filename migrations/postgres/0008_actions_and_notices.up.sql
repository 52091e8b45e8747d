-- What people see of actions on many orders, and of what was told to whom.

-- What became of its orders: a list of actions must not count the orders of each.
ALTER TABLE bulk_actions ADD COLUMN done bigint NOT NULL DEFAULT 0;
ALTER TABLE bulk_actions ADD COLUMN refused bigint NOT NULL DEFAULT 0;
ALTER TABLE bulk_actions ADD COLUMN gone bigint NOT NULL DEFAULT 0;
UPDATE bulk_actions AS b SET
    done = (SELECT count(*) FROM bulk_orders AS o WHERE o.id = b.id AND o.outcome = 'done'),
    refused = (SELECT count(*) FROM bulk_orders AS o WHERE o.id = b.id AND o.outcome = 'refused'),
    gone = (SELECT count(*) FROM bulk_orders AS o WHERE o.id = b.id AND o.outcome = 'gone');
-- Lists of actions, newest first.
CREATE INDEX bulk_actions_created ON bulk_actions (created_at, id);

-- Why the last try to tell it failed.
ALTER TABLE notices ADD COLUMN problem text;
