//! One running Escrow: what its loops share.
//!
//! Everything here can be lost without harm: the catalog is rebuilt from the store, nudges only wake a loop that would have
//! looked a moment later, and the brake's count is a window of the recent past. What must survive is a row.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use tokio::sync::{Notify, watch};

use crate::saga::catalog::Catalog;
use crate::saga::decide::{Plan, Work};
use crate::saga::order::DoubtKind;
use crate::saga::time::Moment;
use crate::store::{Committed, Store, StoreError};
use crate::telemetry::Metrics;

use super::brake::Brakes;
use super::sight::Sight;

/// What the loops of one process share.
pub struct Escrow {
    pub store: Arc<dyn Store>,
    catalog: RwLock<Arc<Catalog>>,
    brakes: Mutex<Brakes>,
    pub nudges: Nudges,
    pub sight: Sight,
    pub metrics: Arc<Metrics>,
}

/// Wake-ups without data.
pub struct Nudges {
    /// Something was written to the outbox.
    pub outbox: Notify,
    /// A watermark moved.
    pub watermark: Notify,
    /// A deadline was armed that is earlier than what the pulse sleeps for.
    pub armed: Notify,
    /// The moment the pulse sleeps for, in microseconds.
    pub sleeping_for: AtomicI64,
    /// Grows with every batch that wrote to the journal.
    pub journal: watch::Sender<u64>,
}

impl Escrow {
    /// An Escrow over `store` that follows `catalog`.
    pub fn new(store: Arc<dyn Store>, catalog: Arc<Catalog>, metrics: Arc<Metrics>) -> Self {
        Self {
            store,
            catalog: RwLock::new(catalog),
            brakes: Mutex::new(Brakes::default()),
            nudges: Nudges {
                outbox: Notify::new(),
                watermark: Notify::new(),
                armed: Notify::new(),
                sleeping_for: AtomicI64::new(i64::MAX),
                journal: watch::Sender::new(0),
            },
            sight: Sight::default(),
            metrics,
        }
    }

    /// The definitions followed now.
    pub fn catalog(&self) -> Arc<Catalog> {
        Arc::clone(&self.catalog.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Follows other definitions from the next batch on.
    pub fn set_catalog(&self, catalog: Arc<Catalog>) {
        *self.catalog.write().unwrap_or_else(PoisonError::into_inner) = catalog;
    }

    /// How many more orders of each saga may turn back by timeout.
    fn brakes_left(&self, catalog: &Catalog, now: Moment) -> BTreeMap<String, u32> {
        self.brakes.lock().unwrap_or_else(PoisonError::into_inner).left(catalog, now)
    }

    /// Whether the brake of a saga holds.
    pub fn is_braked(&self, saga: &str) -> bool {
        self.brakes.lock().unwrap_or_else(PoisonError::into_inner).is_latched(saga)
    }

    /// A plan for `work` with everything else as it is now.
    pub fn plan(&self, work: Vec<Work>, now: Moment) -> Plan {
        let catalog = self.catalog();
        let brakes = self.brakes_left(&catalog, now);
        Plan {
            catalog,
            work,
            brakes,
            tap: None,
            token: None,
            idempotency_key: None,
            read_stored: crate::wire::stored_event,
        }
    }

    /// Decides and saves one batch, then wakes whoever has something to do.
    ///
    /// # Errors
    /// As [`Store::apply`]: nothing was saved, or everything was and the answer was lost.
    pub async fn commit(&self, plan: Plan) -> Result<Committed, StoreError> {
        let lookup = plan.lookup();
        let plan = Arc::new(plan);
        let deciding = Arc::clone(&plan);
        let committed = self.store.apply(lookup, Arc::new(move |loaded| deciding.decide(loaded))).await?;
        self.after_commit(&plan.catalog, &committed);
        Ok(committed)
    }

    fn after_commit(&self, catalog: &Catalog, committed: &Committed) {
        let changes = &committed.changes;
        self.metrics.count(&changes.tally);
        self.metrics
            .coverage_gaps
            .inc_by(changes.doubts.iter().filter(|doubt| doubt.kind == DoubtKind::Gap).count() as u64);
        if !changes.turned_by_timeout.is_empty() {
            let mut brakes = self.brakes.lock().unwrap_or_else(PoisonError::into_inner);
            brakes.count(catalog, &changes.turned_by_timeout, committed.now);
        }
        if !changes.outbox.is_empty() {
            self.nudges.outbox.notify_one();
        }
        if changes.tap.as_ref().is_some_and(|tap| tap.watermark.is_some()) {
            self.nudges.watermark.notify_one();
        }
        let armed = changes.orders.iter().filter_map(|saved| saved.order.next_due()).min();
        if armed.is_some_and(|at| at.0 < self.nudges.sleeping_for.load(Ordering::Acquire)) {
            self.nudges.armed.notify_one();
        }
        if changes.orders.iter().any(|saved| !saved.entries.is_empty()) {
            self.nudges.journal.send_modify(|version| *version += 1);
        }
    }
}
