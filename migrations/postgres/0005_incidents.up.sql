-- What holds up orders, and who is to be told of it.

-- One row for each time a cause lasted.
CREATE TABLE incidents (
    id           text COLLATE "C" NOT NULL, -- of cause, saga and step
    episode      bigint NOT NULL,
    cause        text COLLATE "C" NOT NULL,
    saga         text COLLATE "C" NOT NULL, -- '' for all of them
    step         text COLLATE "C",
    status       text COLLATE "C" NOT NULL CHECK (status IN ('open', 'resolved')),
    count        bigint NOT NULL,
    peak         bigint NOT NULL,
    first_at     bigint NOT NULL,
    last_at      bigint NOT NULL,
    opened_at    bigint NOT NULL,
    resolved_at  bigint,
    calm_since   bigint,
    samples      text NOT NULL,             -- ["order id", …]
    why          text NOT NULL,
    parent       text COLLATE "C",
    acked_by     text,
    acked_at     bigint,
    acked_reason text,
    told         bigint NOT NULL DEFAULT 0, -- notices of this episode so far, for each channel
    told_at      bigint,                    -- when the last of them was written
    told_count   bigint NOT NULL DEFAULT 0, -- the count it told
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
    key          uuid PRIMARY KEY,
    channel      text COLLATE "C" NOT NULL,
    incident     text COLLATE "C" NOT NULL,
    episode      bigint NOT NULL,
    number       bigint NOT NULL,
    kind         text COLLATE "C" NOT NULL CHECK (kind IN ('trigger', 'update', 'resolve')),
    content      text NOT NULL,             -- the incident as it was then
    state        text COLLATE "C" NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'settled')),
    verdict      text,                      -- sent, refused: …
    lease_owner  uuid,
    lease_until  bigint,
    available_at bigint NOT NULL,           -- pushed to the lease's end while it is leased
    tries        bigint NOT NULL DEFAULT 0,
    created_at   bigint NOT NULL,
    settled_at   bigint
);
-- What of a channel can be claimed, oldest first: a channel that is dead holds up no other.
CREATE INDEX notices_available ON notices (channel, available_at) WHERE state = 'pending';
-- Whether something of the same channel and incident comes before.
CREATE INDEX notices_turn ON notices (channel, incident, episode, number) WHERE state = 'pending';
-- What was told of an incident.
CREATE INDEX notices_incident ON notices (incident, episode, number);
-- What can be forgotten.
CREATE INDEX notices_settled ON notices (settled_at) WHERE state = 'settled';
