//! Looks again at orders that were held back in doubt, when a doubt goes (rule 8).
//!
//! A doubt goes when its message is replayed or dropped; that only wakes this loop, so a thousand of them dropped at once are one
//! walk over the stuck orders. A first walk at the start finds what a crash left between the two.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;

use crate::faults::Step as _;
use crate::saga::decide::Work;
use crate::saga::order::{Order, Status, StuckReason};
use crate::store::{OrderFilter, Page};

use super::{Escrow, Ran, Worker, WorkerError};

/// Orders looked at again in one transaction.
const AT_ONCE: usize = 500;

/// How often to look without a nudge: another replica may have taken the command and died before it looked.
const TICK: Duration = Duration::from_mins(10);

/// Reconsiders orders that were held back.
pub struct Doubts {
    escrow: Arc<Escrow>,
}

impl Doubts {
    /// A loop over all sagas.
    pub fn new(escrow: Arc<Escrow>) -> Self {
        Self { escrow }
    }
}

impl Worker for Doubts {
    fn name(&self) -> &'static str {
        "doubts"
    }

    fn run_once(&mut self) -> BoxFuture<'_, Result<Ran, WorkerError>> {
        Box::pin(async move {
            let store = &self.escrow.store;
            let filter = OrderFilter { statuses: vec![Status::Stuck], ..OrderFilter::default() };
            let mut page = Page { limit: AT_ONCE, cursor: None };
            loop {
                let listed = store.list_orders(filter.clone(), page.clone()).at("doubts.list_orders").await?;
                let held = listed.items.into_iter().filter(is_held_back);
                let work: Vec<Work> = held.map(|order| Work::Reconsider(order.key)).collect();
                if !work.is_empty() {
                    self.escrow.commit_each(work).at("doubts.commit").await?;
                }
                match listed.next_cursor {
                    Some(cursor) => page.cursor = Some(cursor),
                    None => return Ok(Ran::Idle(TICK)),
                }
            }
        })
    }

    fn nudged(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.escrow.nudges.doubts.notified())
    }
}

/// Something was decided against in doubt. Not always the first of what the order needs: a step that alerts is `timed_out` first.
fn is_held_back(order: &Order) -> bool {
    order.life.needs.iter().any(|need| need.reason == StuckReason::Unproven)
        || order.steps.iter().any(|step| step.withheld)
}
