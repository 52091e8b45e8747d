//! Fires what the watermark has passed (rule 6).
//!
//! Due orders are found without locks, then locked, loaded and checked again by the decision itself: whatever another replica
//! fired meanwhile is not due any more. So a deadline fires once, however many replicas look.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;

use crate::saga::decide::Work;

use super::watermark::Watermarks;
use super::{Escrow, Ran, Worker, WorkerError};

/// Orders per transaction: enough to keep a storm of timeouts cheap, few enough to keep locks short.
const ORDERS_MAX: usize = 500;

/// How often to look without a nudge: another replica may hold the tap and move the watermark.
const TICK: Duration = Duration::from_secs(1);

/// Turns passed deadlines into inputs.
pub struct Deadlines {
    escrow: Arc<Escrow>,
    watermarks: Arc<Watermarks>,
}

impl Deadlines {
    /// A loop over all sagas.
    pub fn new(escrow: Arc<Escrow>, watermarks: Arc<Watermarks>) -> Self {
        Self { escrow, watermarks }
    }
}

impl Worker for Deadlines {
    fn name(&self) -> &'static str {
        "deadlines"
    }

    fn run_once(&mut self) -> BoxFuture<'_, Result<Ran, WorkerError>> {
        Box::pin(async move {
            let known = self.watermarks.read(&self.escrow).await?;
            let due = self.escrow.store.due_orders(known.by_saga.clone(), ORDERS_MAX).await?;
            if due.is_empty() {
                return Ok(Ran::Idle(TICK));
            }
            let full = due.len() == ORDERS_MAX;
            let work = due.into_iter().filter_map(|key| {
                let watermark = known.by_saga.get(&key.saga).copied()?;
                Some(Work::Due(key, watermark))
            });
            let plan = self.escrow.plan(work.collect(), known.now);
            let committed = self.escrow.commit(plan).await?;
            // What was found due and did not fire will not fire now either: no spinning over it.
            let fired = committed.changes.tally.deadlines_fired > 0;
            Ok(if full && fired { Ran::Did } else { Ran::Idle(TICK) })
        })
    }

    fn nudged(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.escrow.nudges.watermark.notified())
    }
}
