-- Orders, their trail, what is to be published, and what could not be read.

CREATE TABLE orders (
    order_id      text NOT NULL,
    saga          text NOT NULL,
    version       integer NOT NULL,
    status        text NOT NULL,
    state         text NOT NULL,           -- {"life":…,"steps":…}
    seen          blob NOT NULL,          -- 16 bytes for each message applied
    attributes    text NOT NULL,
    next_due      integer,
    waiting       text NOT NULL, -- names of the steps waited for, sorted, with commas; '' for none
    waiting_since integer,                  -- the oldest of these waits
    reason        text,        -- of the first need
    stuck_step    text,
    stuck_since   integer,
    created_at    integer NOT NULL,
    updated_at    integer NOT NULL,
    sequence      integer NOT NULL,
    head          blob NOT NULL,
    duplicates    integer NOT NULL,
    -- The id first, so that an id alone finds its orders in all sagas.
    PRIMARY KEY (order_id, saga)
);
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
    name       text NOT NULL,
    value      text NOT NULL,
    created_at integer NOT NULL,            -- of the order: lists are newest first
    saga       text NOT NULL,
    order_id   text NOT NULL,
    PRIMARY KEY (name, value, created_at, saga, order_id)
) WITHOUT ROWID;

-- The names of the steps of each version that has orders.
CREATE TABLE step_names (
    saga    text NOT NULL,
    version integer NOT NULL,
    names   text NOT NULL,
    PRIMARY KEY (saga, version)
);

CREATE TABLE journal (
    position integer PRIMARY KEY,
    saga     text NOT NULL,
    order_id text NOT NULL,
    sequence integer NOT NULL,
    at       integer NOT NULL,
    kind     text NOT NULL,
    actor    text,
    body     text NOT NULL,                -- exactly the bytes the hash covers
    hash     blob NOT NULL,
    UNIQUE (order_id, saga, sequence)
);
-- The journal of all orders by time.
CREATE INDEX journal_at ON journal (at);
-- What Escrow and people did, among the many events.
CREATE INDEX journal_acts ON journal (at) WHERE kind <> 'event';

CREATE TRIGGER journal_never_updated BEFORE UPDATE ON journal
BEGIN SELECT RAISE(ABORT, 'table journal is append-only'); END;
CREATE TRIGGER journal_never_deleted BEFORE DELETE ON journal
BEGIN SELECT RAISE(ABORT, 'table journal is append-only'); END;

-- The content of messages, apart from the trail so that it can be erased.
CREATE TABLE payloads (
    order_id    text NOT NULL,
    saga        text NOT NULL,
    sequence    integer NOT NULL,
    salt        blob NOT NULL,
    body        blob,
    body_hash   blob NOT NULL,
    envelope    text NOT NULL,
    exchange    text NOT NULL,
    routing_key text NOT NULL,
    message_id  text NOT NULL,
    PRIMARY KEY (order_id, saga, sequence)
);

CREATE TABLE outbox (
    key          text NOT NULL PRIMARY KEY,
    saga         text NOT NULL,
    order_id     text NOT NULL,
    sequence     integer NOT NULL,
    place        integer NOT NULL,
    message_id   text NOT NULL,
    content      text NOT NULL,
    asks         boolean NOT NULL,         -- a retry or compensation: may be withdrawn
    state        text NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'settled')),
    verdict      text,
    lease_owner  text,
    lease_until  integer,
    available_at integer NOT NULL,          -- pushed to the lease's end while it is leased
    tries        integer NOT NULL DEFAULT 0,
    created_at   integer NOT NULL,
    settled_at   integer
);
-- What can be claimed, oldest first.
CREATE INDEX outbox_available ON outbox (available_at) WHERE state = 'pending';
-- Whether something of the same order comes before.
CREATE INDEX outbox_turn ON outbox (order_id, saga, sequence, place) WHERE state = 'pending';
-- What can be forgotten.
CREATE INDEX outbox_settled ON outbox (settled_at) WHERE state = 'settled';

CREATE TABLE quarantine (
    id              integer PRIMARY KEY AUTOINCREMENT,
    at              integer NOT NULL,
    reason          text NOT NULL,
    detail          text NOT NULL,
    saga            text,
    event           text,
    order_id        text,
    exchange        text NOT NULL,
    routing_key     text NOT NULL,
    envelope        text NOT NULL,
    body            blob NOT NULL,
    body_bytes      integer NOT NULL,
    resolved        text,
    resolved_by     text,
    resolved_reason text,
    resolved_at     integer
);
-- What waits for a decision, newest first.
CREATE INDEX quarantine_open ON quarantine (id) WHERE resolved IS NULL;

CREATE TABLE doubts (
    id            integer PRIMARY KEY AUTOINCREMENT,
    kind          text NOT NULL,
    saga          text,
    from_at       integer NOT NULL,
    to_at         integer NOT NULL,
    event         text,
    order_id      text,
    detail        text NOT NULL,
    quarantine_id integer,                  -- goes when that message is replayed or dropped
    made_at       integer NOT NULL,
    resolved_at   integer
);
-- The doubts people are told.
CREATE INDEX doubts_open ON doubts (id) WHERE resolved_at IS NULL;
-- The doubts a batch is told: those of its orders, and those that may be about any of them.
CREATE INDEX doubts_of_order ON doubts (order_id, saga) WHERE resolved_at IS NULL;
-- The doubt of one quarantined message.
CREATE INDEX doubts_quarantined ON doubts (quarantine_id) WHERE quarantine_id IS NOT NULL;

CREATE TABLE sagas (
    saga       text NOT NULL PRIMARY KEY,
    mode       text NOT NULL,
    changed_at integer NOT NULL
);
CREATE TABLE saga_log (
    id     integer PRIMARY KEY AUTOINCREMENT,
    saga   text NOT NULL,
    at     integer NOT NULL,
    what   text NOT NULL,
    detail text NOT NULL,
    actor  text NOT NULL,
    reason text NOT NULL
);
CREATE TRIGGER saga_log_never_updated BEFORE UPDATE ON saga_log
BEGIN SELECT RAISE(ABORT, 'table saga_log is append-only'); END;
CREATE TRIGGER saga_log_never_deleted BEFORE DELETE ON saga_log
BEGIN SELECT RAISE(ABORT, 'table saga_log is append-only'); END;
CREATE TABLE definitions (
    saga        text NOT NULL,
    version     integer NOT NULL,
    text        text NOT NULL,
    fingerprint blob NOT NULL,
    stored_at   integer NOT NULL,
    PRIMARY KEY (saga, version)
);
-- The last number given to an order placed by arrival.
CREATE TABLE arrival_counters (
    saga text NOT NULL PRIMARY KEY,
    last integer NOT NULL
);

CREATE TABLE taps (
    name            text NOT NULL PRIMARY KEY,
    watermark       integer,
    last_batch      blob NOT NULL DEFAULT x'', -- 32 bytes for each message without an id
    committed_at    integer, -- when its last batch was committed; never goes back
    accepting_since integer,
    accepting_until integer,
    break_began     integer
);
CREATE TABLE bindings (
    tap       text NOT NULL,
    exchange  text NOT NULL,
    bound     boolean NOT NULL,
    absent_at integer,
    bound_at  integer,
    problem   text,
    PRIMARY KEY (tap, exchange)
);

-- What a command became, by its Idempotency-Key.
CREATE TABLE answers (
    key      text NOT NULL PRIMARY KEY,
    sequence integer NOT NULL,
    made_at  integer NOT NULL
);
CREATE INDEX answers_age ON answers (made_at);
-- Housekeeping that one replica at a time may do.
CREATE TABLE leases (
    name        text NOT NULL PRIMARY KEY,
    owner       text NOT NULL,
    lease_until integer NOT NULL
);
CREATE TABLE step_stats (
    saga    text NOT NULL,
    version integer NOT NULL,
    step    text NOT NULL,
    samples integer NOT NULL,
    p50     integer NOT NULL,
    p95     integer NOT NULL,
    p99     integer NOT NULL,
    PRIMARY KEY (saga, version, step)
);
