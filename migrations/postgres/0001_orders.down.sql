-- Everything goes, the trail included.
DROP TABLE step_stats, leases, answers, bindings, taps, arrival_counters, definitions, saga_log, sagas, doubts, quarantine,
    outbox, payloads, journal, step_names, order_attributes, orders;
DROP FUNCTION escrow_append_only();
DROP FUNCTION escrow_now();
