-- What replicas share about a saga as a whole, and actions on many orders.

-- One row for each saga: its brake, and where its own trail ends. Locked after the orders.
CREATE TABLE saga_states (
    saga       text COLLATE "C" PRIMARY KEY,
    turned     text NOT NULL,              -- [[moment, orders turned back by timeout], …]
    latched_at bigint,
    sequence   bigint NOT NULL,
    head       bytea NOT NULL
);

-- What people change about a saga is in the journal from now on, chained, under the saga's name and an empty order id.
DROP TABLE saga_log;

CREATE TABLE bulk_actions (
    id             uuid PRIMARY KEY,
    ask            text NOT NULL,          -- {"filter":…,"action":…,…}
    state          text COLLATE "C" NOT NULL CHECK (state IN ('running', 'done', 'stopped')),
    total          bigint NOT NULL,
    created_at     bigint NOT NULL,
    next_at        bigint NOT NULL,        -- no order of it is acted on before
    lease_owner    uuid,
    lease_until    bigint NOT NULL DEFAULT 0,
    ended_at       bigint,
    stopped_by     text,
    stopped_reason text
);
-- What is to be carried on, and what can be forgotten.
CREATE INDEX bulk_actions_running ON bulk_actions (next_at) WHERE state = 'running';
CREATE INDEX bulk_actions_ended ON bulk_actions (ended_at) WHERE ended_at IS NOT NULL;

-- The orders of a bulk action, as its filter named them when it began.
CREATE TABLE bulk_orders (
    id       uuid NOT NULL,
    place    bigint NOT NULL,
    saga     text COLLATE "C" NOT NULL,
    order_id text COLLATE "C" NOT NULL,
    outcome  text COLLATE "C",             -- null: not yet
    sequence bigint,
    detail   text,
    at       bigint,
    PRIMARY KEY (id, place)
);
-- The next one.
CREATE INDEX bulk_orders_open ON bulk_orders (id, place) WHERE outcome IS NULL;
