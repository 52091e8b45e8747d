-- Incidents, part 1: what is shown.
SELECT i.id, i.episode, i.cause, i.saga, i.step, i.status, i.count, i.peak, i.first_at, i.last_at, i.opened_at, i.resolved_at,
    i.calm_since, i.samples, i.why, i.parent, i.acked_by, i.acked_at, i.acked_reason, i.told, i.told_at, i.told_count, i.told_to
