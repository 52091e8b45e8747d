//! Looks at the queues of services that somebody waits for: why an answer does not come.
//!
//! ```text
//!   definitions ─▶ which queue answers which step
//!   store       ─▶ whether an order has been waiting in one of those steps for a while ─▶ a passive look ─▶ Findings (memory)
//! ```
//!
//! Only the queues that some open order waits on are looked at, every few seconds, and only once the wait is longer than a quick
//! answer takes; a queue nobody waits for is left alone. What was found is told and never decided by: it is in memory alone, each
//! replica looks for itself, and losing it costs one look. Nothing is declared, consumed or published.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use futures_util::future::BoxFuture;

use crate::bus::Sink;
use crate::saga::catalog::Catalog;
use crate::saga::queue::QueueFinding;
use crate::saga::time::Span;
use crate::store::{OrderFilter, Page, StoreError};

use super::{Escrow, Ran, Worker, WorkerError};

/// Between two rounds of looks: a person who asks twice sees that something changed.
const EVERY: Duration = Duration::from_secs(3);

/// Nobody asks why about a wait that is shorter, and most services answer sooner: a busy system that is well is not looked at.
const LONG_WAIT: Span = Span::from_secs(3);

/// A refused look uses up a channel of its connection, so it is repeated less often.
const REFUSED_EVERY: Span = Span::from_secs(12);

/// What the last looks found, by queue. Shared with whoever tells it.
#[derive(Debug, Default)]
pub struct Findings(RwLock<BTreeMap<String, QueueFinding>>);

impl Findings {
    /// What is known of a queue; `None` while nobody waits for it, or nothing is known.
    pub fn of(&self, queue: &str) -> Option<QueueFinding> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(queue).cloned()
    }

    fn replace(&self, findings: BTreeMap<String, QueueFinding>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = findings;
    }
}

/// Keeps [`Findings`] true.
pub struct Queues {
    escrow: Arc<Escrow>,
    sink: Arc<dyn Sink>,
}

impl Queues {
    /// Looks of this process.
    pub fn new(escrow: Arc<Escrow>, sink: Arc<dyn Sink>) -> Self {
        Self { escrow, sink }
    }

    /// Whether an order has been waiting in one of these steps for long.
    async fn is_awaited(&self, saga: &str, steps: &[String]) -> Result<bool, StoreError> {
        let filter = OrderFilter {
            sagas: vec![saga.to_owned()],
            waiting_on: steps.to_vec(),
            older_than: Some(LONG_WAIT),
            ..OrderFilter::default()
        };
        let found = self.escrow.store.list_orders(filter, Page { limit: 1, cursor: None }).await?;
        Ok(!found.items.is_empty())
    }

    /// The queues somebody waits for.
    async fn awaited(&self) -> Result<Vec<String>, StoreError> {
        let mut awaited = Vec::new();
        for (queue, steps) in queues(&self.escrow.catalog()) {
            for (saga, steps) in steps {
                if self.is_awaited(&saga, &steps).await? {
                    awaited.push(queue);
                    break;
                }
            }
        }
        Ok(awaited)
    }

    async fn look(&self) -> Result<BTreeMap<String, QueueFinding>, WorkerError> {
        let mut findings = BTreeMap::new();
        for queue in self.awaited().await? {
            let at = self.escrow.store.now().await?;
            let known = self.escrow.queues.of(&queue);
            let finding = match known.filter(|it| it.what.is_refusal() && at.since(it.at) < REFUSED_EVERY) {
                Some(known) => known,
                None => QueueFinding { queue: queue.clone(), at, what: self.sink.look_at_queue(queue.clone()).await? },
            };
            findings.insert(queue, finding);
        }
        Ok(findings)
    }
}

impl Worker for Queues {
    fn name(&self) -> &'static str {
        "queues"
    }

    fn run_once(&mut self) -> BoxFuture<'_, Result<Ran, WorkerError>> {
        Box::pin(async move {
            match self.look().await {
                Ok(findings) => self.escrow.queues.replace(findings),
                Err(error) => {
                    // What was true before is not known to be true any more.
                    self.escrow.queues.replace(BTreeMap::new());
                    // The connection's supervisor has said that the broker is away.
                    let WorkerError::Bus(away) = error else { return Err(error) };
                    tracing::debug!(error = %away, "queues cannot be looked at");
                }
            }
            Ok(Ran::Idle(EVERY))
        })
    }

    fn nudged(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::pending())
    }
}

/// The queues the definitions name: each with the sagas, and their steps that wait for its service.
fn queues(catalog: &Catalog) -> BTreeMap<String, BTreeMap<String, Vec<String>>> {
    let mut queues: BTreeMap<String, BTreeMap<String, Vec<String>>> = BTreeMap::new();
    for saga in catalog.watching() {
        for step in &saga.steps {
            for queue in step.queues() {
                let steps = queues.entry(queue.to_owned()).or_default().entry(saga.name.clone()).or_default();
                if !steps.contains(&step.name) {
                    steps.push(step.name.clone());
                }
            }
        }
    }
    queues
}
