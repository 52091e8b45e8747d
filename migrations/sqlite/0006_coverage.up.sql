-- Which events each saga met, named by it or not: what its definition and the bus speak of.
CREATE TABLE event_sightings (
    saga     text NOT NULL,
    exchange text NOT NULL,                  -- '' for events over HTTP
    event    text NOT NULL,                  -- '' for all those beyond the bound together
    named    boolean NOT NULL,               -- some version of the saga named it when it was last seen
    seen     integer NOT NULL,
    last_at  integer NOT NULL,
    PRIMARY KEY (saga, exchange, event)
) WITHOUT ROWID;
-- How many names a saga does not know it has met: asked only when there is a new one.
CREATE INDEX event_sightings_strangers ON event_sightings (saga) WHERE named = 0 AND event <> '';
