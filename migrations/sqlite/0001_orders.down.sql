-- Everything goes, the trail included.
DROP TABLE step_stats;
DROP TABLE leases;
DROP TABLE answers;
DROP TABLE bindings;
DROP TABLE taps;
DROP TABLE arrival_counters;
DROP TABLE definitions;
DROP TABLE saga_log;
DROP TABLE sagas;
DROP TABLE doubts;
DROP TABLE quarantine;
DROP TABLE outbox;
DROP TABLE payloads;
DROP TABLE journal;
DROP TABLE step_names;
DROP TABLE order_attributes;
DROP TABLE orders;
