-- What holds up orders, and who is to be told of it.

-- One row for each time a cause lasted.
CREATE TABLE incidents (
    id           text NOT NULL,             -- of cause, saga and step
    episode      integer NOT NULL,
    cause        text NOT NULL,
    saga         text NOT NULL,             -- '' for all of them
    step         text,
    status       text NOT NULL CHECK (status IN ('open', 'resolved')),
    count        integer NOT NULL,
    peak         integer NOT NULL,
    first_at     integer NOT NULL,
    last_at      integer NOT NULL,
    opened_at    integer NOT NULL,
    resolved_at  integer,
    calm_since   integer,
    samples      text NOT NULL,             -- ["order id", …]
    why          text NOT NULL,
    parent       text,
    acked_by     text,
    acked_at     integer,
    acked_reason text,
    told         integer NOT NULL DEFAULT 0, -- notices of this episode so far, for each channel
    told_at      integer,                   -- when the last of them was written
    told_count   integer NOT NULL DEFAULT 0, -- the count it told
    told_to      text NOT NULL DEFAULT '[]', -- ["channel", …]: those that got the trigger
    PRIMARY KEY (id, episode)
);
-- One open episode of a cause at a time.
CREATE UNIQUE INDEX incidents_open ON incidents (id) WHERE status = 'open';
-- Lists by status, newest first; and what can be forgotten.
CREATE INDEX incidents_status ON incidents (status, opened_at, id, episode);
CREATE INDEX incidents_resolved ON incidents (resolved_at) WHERE resolved_at IS NOT NULL;

-- What is to be told, as the outbox is what is to be published.
CREATE TABLE notices (
    key          text NOT NULL PRIMARY KEY,
    channel      text NOT NULL,
    incident     text NOT NULL,
    episode      integer NOT NULL,
    number       integer NOT NULL,
    kind         text NOT NULL CHECK (kind IN ('trigger', 'update', 'resolve')),
    content      text NOT NULL,             -- the incident as it was then
    state        text NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'settled')),
    verdict      text,                      -- sent, refused: …
    lease_owner  text,
    lease_until  integer,
    available_at integer NOT NULL,          -- pushed to the lease's end while it is leased
    tries        integer NOT NULL DEFAULT 0,
    created_at   integer NOT NULL,
    settled_at   integer
);
-- What of a channel can be claimed, oldest first: a channel that is dead holds up no other.
CREATE INDEX notices_available ON notices (channel, available_at) WHERE state = 'pending';
-- Whether something of the same channel and incident comes before.
CREATE INDEX notices_turn ON notices (channel, incident, episode, number) WHERE state = 'pending';
-- What was told of an incident.
CREATE INDEX notices_incident ON notices (incident, episode, number);
-- What can be forgotten.
CREATE INDEX notices_settled ON notices (settled_at) WHERE state = 'settled';
