//! What runs by the calendar: leases for it, forgetting, and statistics.

use std::collections::BTreeMap;

use uuid::Uuid;

use super::orders::known_sagas;
use super::rows::{self, int};
use super::session::{Failure, Session};
use super::statement::{Bind, Row, Rows, columns, sql};
use super::{StepStats, StoreError};
use crate::saga::order::{Skipped, StepState, StepStatus};
use crate::saga::time::{Moment, Span};

/// How many rows one transaction forgets: short enough that nobody waits for it.
const PURGED_AT_ONCE: i64 = 5_000;
/// A watermark is stale this long after all else would be forgotten. An Escrow that was away for less finds its own, and so knows
/// what it may have missed.
const STALE_AFTER: Span = Span::from_secs(90 * 86_400);
/// How many of the newest orders of a saga and status statistics are made from: enough for a 99th percentile, and the cost
/// does not grow with the table.
const SAMPLED: i64 = 20_000;
/// Fewer say nothing about a percentile.
const SAMPLES_MIN: usize = 30;
/// Statistics look back this far at most.
const WINDOW: Span = Span::from_secs(7 * 86_400);

/// See [`super::Store::lease`].
pub async fn lease(session: &mut dyn Session, it: &(String, Uuid, Span)) -> Result<bool, Failure> {
    let (name, owner, lease) = it;
    let binds = vec![Bind::Text(name.clone()), Bind::Text(owner.to_string()), Bind::Int(lease.0), Bind::Now];
    Ok(session.execute(sql!("lease"), binds).await? == 1)
}

/// Forgets some rows older than `before`, and says how many; to be called until it is none.
pub async fn purge_some(session: &mut dyn Session, before: Moment) -> Result<u64, Failure> {
    let mut gone = 0;
    for statement in [
        sql!("purge_outbox"),
        sql!("purge_doubts"),
        sql!("purge_answers"),
        sql!("purge_bulk_orders"),
        sql!("purge_bulk"),
        sql!("purge_notices"),
        sql!("purge_untold"),
        sql!("purge_incidents"),
    ] {
        gone += session.execute(statement, vec![Bind::Int(before.0), Bind::Int(PURGED_AT_ONCE)]).await?;
    }
    Ok(gone + session.execute(sql!("purge_taps"), vec![Bind::Int((before - STALE_AFTER).0)]).await?)
}

/// The state of an order, as far as durations need it.
#[derive(serde::Deserialize)]
struct Steps {
    steps: Vec<StepState>,
}

/// See [`super::Store::refresh_stats`].
pub async fn refresh_stats(session: &mut dyn Session, since: Moment) -> Result<(), Failure> {
    let since = since.max(now(session).await? - WINDOW);
    let sagas = known_sagas(session).await?;
    let stats = measure(session, &sagas, since).await?;
    session.execute(sql!("delete_stats"), Vec::new()).await?;
    if !stats.is_empty() {
        let rows: Rows = columns!(stats;
            Text(|it| it.saga.clone()),
            Int(|it| i64::from(it.version)),
            Text(|it| it.step.clone()),
            Int(|it| int(it.closed)),
            Int(|it| int(it.timed_out)),
            Int(|it| int(it.samples)),
            Int(|it| it.p50.0),
            Int(|it| it.p95.0),
            Int(|it| it.p99.0));
        session.execute(sql!("insert_stats"), vec![Bind::Rows(rows)]).await?;
    }
    Ok(())
}

/// The name of a step in a version of a saga.
type StepKey = (String, u32, String);

/// What is known of the steps of one name that ended.
#[derive(Default)]
struct Tally {
    closed: u64,
    timed_out: u64,
    took: Vec<i64>,
}

impl Tally {
    fn into_stats(mut self, (saga, version, step): StepKey) -> StepStats {
        self.took.sort_unstable();
        let is_enough = self.took.len() >= SAMPLES_MIN;
        let [p50, p95, p99] =
            [50, 95, 99].map(|percent| if is_enough { percentile(&self.took, percent) } else { Span(0) });
        let Self { closed, timed_out, took } = self;
        StepStats { saga, version, step, closed, timed_out, samples: took.len() as u64, p50, p95, p99 }
    }
}

/// How the steps ended that closed since `since`, and how long they took where there are enough to say.
async fn measure(session: &mut dyn Session, sagas: &[String], since: Moment) -> Result<Vec<StepStats>, Failure> {
    let branches: Vec<_> = sagas
        .iter()
        .flat_map(|saga| crate::saga::order::Status::ALL.map(|status| (saga.clone(), status.word().to_owned())))
        .collect();
    let mut tallies: BTreeMap<StepKey, Tally> = BTreeMap::new();
    // One branch at a time: what is read at once stays small.
    for branch in branches {
        let branch = [branch];
        let branch: Rows = columns!(branch; Text(|it| it.0.clone()), Text(|it| it.1.clone()));
        let binds = vec![Bind::Rows(branch), Bind::Int(since.0), Bind::Int(SAMPLED)];
        for row in session.fetch(sql!("stats_source"), binds).await? {
            collect(&row, since, &mut tallies)?;
        }
    }
    Ok(tallies.into_iter().map(|(key, tally)| tally.into_stats(key)).collect())
}

fn collect(row: &Row, since: Moment, tallies: &mut BTreeMap<StepKey, Tally>) -> Result<(), StoreError> {
    // An order that cannot be read is told elsewhere; it must not keep the statistics of all others.
    let Ok(Steps { steps }) = rows::from_json("state", row.get::<&str>("state")?) else { return Ok(()) };
    let names: Vec<String> = rows::from_json("names", row.get::<&str>("names")?)?;
    for (step, name) in steps.iter().zip(names) {
        if step.closed_at.is_none_or(|closed| closed < since) {
            continue;
        }
        let tally = tallies.entry((row.get("saga")?, rows::number(row, "version")?, name)).or_default();
        tally.closed += 1;
        tally.timed_out += u64::from(was_given_up(step));
        tally.took.extend(usual(step).map(|took| took.0));
    }
    Ok(())
}

/// Whether the time of the step ran out, whatever became of it since.
fn was_given_up(step: &StepState) -> bool {
    match step.status {
        StepStatus::TimedOut => true,
        StepStatus::Skipped => step.skipped == Some(Skipped::Timeout),
        // After a failure, late means that it succeeded after all.
        StepStatus::Done => step.late && step.failure.is_none(),
        // Without an event it is undone because it may have happened.
        StepStatus::Compensating | StepStatus::Compensated | StepStatus::CompensationFailed => {
            step.event.is_none() || (step.late && step.failure.is_none())
        }
        StepStatus::Pending | StepStatus::Waiting | StepStatus::Failed => false,
    }
}

/// How long the step took, if that says how long it usually takes.
fn usual(step: &StepState) -> Option<Span> {
    let done = match step.status {
        StepStatus::Done | StepStatus::Compensating | StepStatus::Compensated | StepStatus::CompensationFailed => true,
        StepStatus::Pending | StepStatus::Waiting | StepStatus::Failed | StepStatus::TimedOut | StepStatus::Skipped => {
            false
        }
    };
    let plain = step.live && !step.late && !step.early && !step.inferred && step.attempts == 0 && step.event.is_some();
    let (opened, closed) = (step.opened_at?, step.closed_at?);
    (done && plain).then(|| closed.since(opened))
}

/// The nearest rank: the least value that at least `percent` of all do not exceed.
fn percentile(sorted: &[i64], percent: usize) -> Span {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    Span(sorted.get(rank - 1).copied().unwrap_or_default())
}

/// See [`super::Query::stats`].
pub async fn stats(session: &mut dyn Session, it: &(String, Option<Span>)) -> Result<Vec<StepStats>, Failure> {
    let (saga, window) = it;
    if let Some(window) = window {
        let since = now(session).await? - *window;
        return measure(session, std::slice::from_ref(saga), since).await;
    }
    let read = |row: &Row| {
        Ok(StepStats {
            saga: row.get("saga")?,
            version: rows::number(row, "version")?,
            step: row.get("step")?,
            closed: rows::number(row, "closed")?,
            timed_out: rows::number(row, "timed_out")?,
            samples: rows::number(row, "samples")?,
            p50: rows::span(row, "p50")?,
            p95: rows::span(row, "p95")?,
            p99: rows::span(row, "p99")?,
        })
    };
    session.fetch(sql!("stats"), vec![Bind::Text(saga.clone())]).await?.iter().map(read).collect()
}

/// The database's clock.
pub async fn now(session: &mut dyn Session) -> Result<Moment, Failure> {
    let found = session.fetch(sql!("now"), vec![Bind::Now]).await?;
    let row = found.first().ok_or_else(|| StoreError::Corrupt("the database tells no time".to_owned()))?;
    Ok(rows::moment(row, "now")?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_were_measured() {
        let hundred: Vec<i64> = (1..=100).collect();
        assert_eq!([50, 95, 99].map(|percent| percentile(&hundred, percent).0), [50, 95, 99]);
        assert_eq!([50, 95, 99].map(|percent| percentile(&[7], percent).0), [7, 7, 7]);
    }
}
