-- What replicas share about a saga as a whole, and actions on many orders.

-- One row for each saga: its brake, and where its own trail ends. Locked after the orders.
CREATE TABLE saga_states (
    saga       text NOT NULL PRIMARY KEY,
    turned     text NOT NULL,              -- [[moment, orders turned back by timeout], …]
    latched_at integer,
    sequence   integer NOT NULL,
    head       blob NOT NULL
);

-- What people change about a saga is in the journal from now on, chained, under the saga's name and an empty order id.
DROP TABLE saga_log;

CREATE TABLE bulk_actions (
    id             text NOT NULL PRIMARY KEY,
    ask            text NOT NULL,          -- {"filter":…,"action":…,…}
    state          text NOT NULL CHECK (state IN ('running', 'done', 'stopped')),
    total          integer NOT NULL,
    created_at     integer NOT NULL,
    next_at        integer NOT NULL,        -- no order of it is acted on before
    lease_owner    text,
    lease_until    integer NOT NULL DEFAULT 0,
    ended_at       integer,
    stopped_by     text,
    stopped_reason text
);
-- What is to be carried on, and what can be forgotten.
CREATE INDEX bulk_actions_running ON bulk_actions (next_at) WHERE state = 'running';
CREATE INDEX bulk_actions_ended ON bulk_actions (ended_at) WHERE ended_at IS NOT NULL;

-- The orders of a bulk action, as its filter named them when it began.
CREATE TABLE bulk_orders (
    id       text NOT NULL,
    place    integer NOT NULL,
    saga     text NOT NULL,
    order_id text NOT NULL,
    outcome  text,             -- null: not yet
    sequence integer,
    detail   text,
    at       integer,
    PRIMARY KEY (id, place)
);
-- The next one.
CREATE INDEX bulk_orders_open ON bulk_orders (id, place) WHERE outcome IS NULL;
