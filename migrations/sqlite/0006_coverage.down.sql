-- Counts are lost and begin anew.
DROP TABLE event_sightings;
