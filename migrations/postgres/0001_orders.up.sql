-- Orders, their trail, what is to be published, and what could not be read.

-- The database's clock in microseconds. Stable, so that a comparison with it can use an index.
CREATE FUNCTION escrow_now() RETURNS bigint LANGUAGE sql STABLE PARALLEL SAFE
AS $$ SELECT (extract(epoch FROM statement_timestamp()) * 1000000)::bigint $$;

CREATE TABLE orders (
    order_id      text COLLATE "C" NOT NULL,
    saga          text COLLATE "C" NOT NULL,
    version       bigint NOT NULL,
    status        text COLLATE "C" NOT NULL,
    state         text NOT NULL,           -- {"life":…,"steps":…}
    seen          bytea NOT NULL,          -- 16 bytes for each message applied
    attributes    text NOT NULL,
    next_due      bigint,
    waiting       text COLLATE "C" NOT NULL, -- names of the steps waited for, sorted, with commas; '' for none
    waiting_since bigint,                  -- the oldest of these waits
    reason        text COLLATE "C",        -- of the first need
    stuck_step    text COLLATE "C",
    stuck_since   bigint,
    created_at    bigint NOT NULL,
    updated_at    bigint NOT NULL,
    sequence      bigint NOT NULL,
    head          bytea NOT NULL,
    duplicates    bigint NOT NULL,
    -- The id first, so that an id alone finds its orders in all sagas.
    PRIMARY KEY (order_id, saga)
) WITH (autovacuum_vacuum_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.05);
-- What is due, saga by saga (each has a watermark of its own).
CREATE INDEX orders_due ON orders (saga, next_due) WHERE next_due IS NOT NULL;
-- Lists by saga and status, newest first; counts by status and version from the index alone.
CREATE INDEX orders_status ON orders (saga, status, created_at, version);
-- Lists by awaited step.
CREATE INDEX orders_waiting ON orders (waiting, created_at) WHERE waiting <> '';
-- Lists and groups of what is stuck.
CREATE INDEX orders_stuck ON orders (reason, created_at) WHERE reason IS NOT NULL;

-- Attribute values once more, to be searched. Long values are here by their hash.
CREATE TABLE order_attributes (
    name       text COLLATE "C" NOT NULL,
    value      text COLLATE "C" NOT NULL,
    created_at bigint NOT NULL,            -- of the order: lists are newest first
    saga       text COLLATE "C" NOT NULL,
    order_id   text COLLATE "C" NOT NULL,
    PRIMARY KEY (name, value, created_at, saga, order_id)
);

-- The names of the steps of each version that has orders.
CREATE TABLE step_names (
    saga    text COLLATE "C" NOT NULL,
    version bigint NOT NULL,
    names   text NOT NULL,
    PRIMARY KEY (saga, version)
);

CREATE TABLE journal (
    position bigint GENERATED ALWAYS AS IDENTITY (SEQUENCE NAME journal_position) PRIMARY KEY,
    saga     text COLLATE "C" NOT NULL,
    order_id text COLLATE "C" NOT NULL,
    sequence bigint NOT NULL,
    at       bigint NOT NULL,
    kind     text COLLATE "C" NOT NULL,
    actor    text COLLATE "C",
    body     text NOT NULL,                -- exactly the bytes the hash covers
    hash     bytea NOT NULL,
    UNIQUE (order_id, saga, sequence)
);
-- The journal of all orders by time.
CREATE INDEX journal_at ON journal (at);
-- What Escrow and people did, among the many events.
CREATE INDEX journal_acts ON journal (at) WHERE kind <> 'event';

CREATE FUNCTION escrow_append_only() RETURNS trigger LANGUAGE plpgsql
AS $$ BEGIN RAISE EXCEPTION 'table % is append-only', TG_TABLE_NAME USING ERRCODE = 'integrity_constraint_violation'; END $$;
CREATE TRIGGER journal_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON journal
    FOR EACH STATEMENT EXECUTE FUNCTION escrow_append_only();

-- The content of messages, apart from the trail so that it can be erased.
CREATE TABLE payloads (
    order_id    text COLLATE "C" NOT NULL,
    saga        text COLLATE "C" NOT NULL,
    sequence    bigint NOT NULL,
    salt        bytea NOT NULL,
    body        bytea,
    body_hash   bytea NOT NULL,
    envelope    text NOT NULL,
    exchange    text NOT NULL,
    routing_key text NOT NULL,
    message_id  text NOT NULL,
    PRIMARY KEY (order_id, saga, sequence)
);

CREATE TABLE outbox (
    key          uuid PRIMARY KEY,
    saga         text COLLATE "C" NOT NULL,
    order_id     text COLLATE "C" NOT NULL,
    sequence     bigint NOT NULL,
    place        bigint NOT NULL,
    message_id   text NOT NULL,
    content      text NOT NULL,
    asks         boolean NOT NULL,         -- a retry or compensation: may be withdrawn
    state        text COLLATE "C" NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'settled')),
    verdict      text,
    lease_owner  uuid,
    lease_until  bigint,
    available_at bigint NOT NULL,          -- pushed to the lease's end while it is leased
    tries        bigint NOT NULL DEFAULT 0,
    created_at   bigint NOT NULL,
    settled_at   bigint
);
-- What can be claimed, oldest first.
CREATE INDEX outbox_available ON outbox (available_at) WHERE state = 'pending';
-- Whether something of the same order comes before.
CREATE INDEX outbox_turn ON outbox (order_id, saga, sequence, place) WHERE state = 'pending';
-- What can be forgotten.
CREATE INDEX outbox_settled ON outbox (settled_at) WHERE state = 'settled';

CREATE TABLE quarantine (
    id              bigint GENERATED BY DEFAULT AS IDENTITY (SEQUENCE NAME quarantine_id) PRIMARY KEY,
    at              bigint NOT NULL,
    reason          text COLLATE "C" NOT NULL,
    detail          text NOT NULL,
    saga            text COLLATE "C",
    event           text,
    order_id        text COLLATE "C",
    exchange        text COLLATE "C" NOT NULL,
    routing_key     text NOT NULL,
    envelope        text NOT NULL,
    body            bytea NOT NULL,
    body_bytes      bigint NOT NULL,
    resolved        text,
    resolved_by     text,
    resolved_reason text,
    resolved_at     bigint
);
-- What waits for a decision, newest first.
CREATE INDEX quarantine_open ON quarantine (id) WHERE resolved IS NULL;

CREATE TABLE doubts (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind          text NOT NULL,
    saga          text COLLATE "C",
    from_at       bigint NOT NULL,
    to_at         bigint NOT NULL,
    event         text,
    order_id      text COLLATE "C",
    detail        text NOT NULL,
    quarantine_id bigint,                  -- goes when that message is replayed or dropped
    made_at       bigint NOT NULL,
    resolved_at   bigint
);
-- The doubts people are told.
CREATE INDEX doubts_open ON doubts (id) WHERE resolved_at IS NULL;
-- The doubts a batch is told: those of its orders, and those that may be about any of them.
CREATE INDEX doubts_of_order ON doubts (order_id, saga) WHERE resolved_at IS NULL;
-- The doubt of one quarantined message.
CREATE INDEX doubts_quarantined ON doubts (quarantine_id) WHERE quarantine_id IS NOT NULL;

CREATE TABLE sagas (
    saga       text COLLATE "C" PRIMARY KEY,
    mode       text NOT NULL,
    changed_at bigint NOT NULL
);
CREATE TABLE saga_log (
    id     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    saga   text COLLATE "C" NOT NULL,
    at     bigint NOT NULL,
    what   text NOT NULL,
    detail text NOT NULL,
    actor  text NOT NULL,
    reason text NOT NULL
);
CREATE TRIGGER saga_log_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON saga_log
    FOR EACH STATEMENT EXECUTE FUNCTION escrow_append_only();
CREATE TABLE definitions (
    saga        text COLLATE "C" NOT NULL,
    version     bigint NOT NULL,
    text        text NOT NULL,
    fingerprint bytea NOT NULL,
    stored_at   bigint NOT NULL,
    PRIMARY KEY (saga, version)
);
-- The last number given to an order placed by arrival.
CREATE TABLE arrival_counters (
    saga text COLLATE "C" PRIMARY KEY,
    last bigint NOT NULL
);

CREATE TABLE taps (
    name            text COLLATE "C" PRIMARY KEY,
    watermark       bigint,
    last_batch      bytea NOT NULL DEFAULT '', -- 32 bytes for each message without an id
    committed_at    bigint, -- when its last batch was committed; never goes back
    accepting_since bigint,
    accepting_until bigint,
    break_began     bigint
);
CREATE TABLE bindings (
    tap       text COLLATE "C" NOT NULL,
    exchange  text COLLATE "C" NOT NULL,
    bound     boolean NOT NULL,
    absent_at bigint,
    bound_at  bigint,
    problem   text,
    PRIMARY KEY (tap, exchange)
);

-- What a command became, by its Idempotency-Key.
CREATE TABLE answers (
    key      text COLLATE "C" PRIMARY KEY,
    sequence bigint NOT NULL,
    made_at  bigint NOT NULL
);
CREATE INDEX answers_age ON answers (made_at);
-- Housekeeping that one replica at a time may do.
CREATE TABLE leases (
    name        text COLLATE "C" PRIMARY KEY,
    owner       uuid NOT NULL,
    lease_until bigint NOT NULL
);
CREATE TABLE step_stats (
    saga    text COLLATE "C" NOT NULL,
    version bigint NOT NULL,
    step    text COLLATE "C" NOT NULL,
    samples bigint NOT NULL,
    p50     bigint NOT NULL,
    p95     bigint NOT NULL,
    p99     bigint NOT NULL,
    PRIMARY KEY (saga, version, step)
);
