-- Which events each saga met, named by it or not: what its definition and the bus speak of.
CREATE TABLE event_sightings (
    saga     text COLLATE "C" NOT NULL,
    exchange text COLLATE "C" NOT NULL,      -- '' for events over HTTP
    event    text COLLATE "C" NOT NULL,      -- '' for all those beyond the bound together
    named    boolean NOT NULL,               -- some version of the saga named it when it was last seen
    seen     bigint NOT NULL,
    last_at  bigint NOT NULL,
    PRIMARY KEY (saga, exchange, event)
) WITH (fillfactor = 70);                    -- every batch changes some rows in place
-- How many names a saga does not know it has met: asked only when there is a new one.
CREATE INDEX event_sightings_strangers ON event_sightings (saga) WHERE NOT named AND event <> '';
