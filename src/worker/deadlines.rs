//! Fires what the watermark has passed (rule 6).
//!
//! Due orders are found without locks, then locked, loaded and checked again by the decision itself: whatever another replica
//! fired meanwhile is not due any more. So a deadline fires once, however many replicas look.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;

use crate::faults::{Bug, Step as _, is_planted};
use crate::saga::decide::Work;

use super::watermark::Watermarks;
use super::{Escrow, Ran, Worker, WorkerError};

/// Orders per transaction: enough to keep a storm of timeouts cheap, few enough to keep locks short.
const ORDERS_MAX: usize = 500;

/// More than so many orders that cannot fire are not carried along: something else is wrong then.
const UNFIRED_MAX: usize = 10_000;

/// How often to look without a nudge: another replica may hold the tap and move the watermark.
const TICK: Duration = Duration::from_secs(1);

/// Turns passed deadlines into inputs.
pub struct Deadlines {
    escrow: Arc<Escrow>,
    watermarks: Arc<Watermarks>,
    /// Orders found due that did not fire in the last run: their rows cannot be read, or their version is not known here. So many
    /// more are looked at, that they hold no others up.
    unfired: usize,
}

impl Deadlines {
    /// A loop over all sagas.
    pub fn new(escrow: Arc<Escrow>, watermarks: Arc<Watermarks>) -> Self {
        Self { escrow, watermarks, unfired: 0 }
    }
}

impl Worker for Deadlines {
    fn name(&self) -> &'static str {
        "deadlines"
    }

    fn run_once(&mut self) -> BoxFuture<'_, Result<Ran, WorkerError>> {
        Box::pin(async move {
            let known = self.watermarks.read(&self.escrow).await?;
            let limit = ORDERS_MAX + self.unfired.min(UNFIRED_MAX);
            let mut watermarks = known.by_saga.clone();
            if is_planted(Bug::NoWatermark) {
                watermarks = watermarks.into_keys().map(|saga| (saga, known.now)).collect();
            }
            let due = self.escrow.store.due_orders(watermarks.clone(), limit).at("deadlines.due_orders").await?;
            let found = due.len();
            let work = due.into_iter().filter_map(|key| {
                let watermark = watermarks.get(&key.saga).copied()?;
                Some(Work::Due(key, watermark))
            });
            let committed = self.escrow.commit_each(work.collect()).at("deadlines.commit").await?;
            let fired: u64 = committed.iter().map(|it| it.changes.tally.deadlines_fired).sum();
            self.unfired = found.saturating_sub(usize::try_from(fired).unwrap_or(usize::MAX));
            // What was found due and did not fire will not fire now either: no spinning over it.
            Ok(if found == limit && fired > 0 { Ran::Did } else { Ran::Idle(TICK) })
        })
    }

    fn nudged(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.escrow.nudges.watermark.notified())
    }
}
