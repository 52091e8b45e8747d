//! One running Escrow: what its loops share.
//!
//! Everything here can be lost without harm: the catalog is rebuilt from the store, nudges only wake a loop that would have
//! looked a moment later. What must survive is a row.

use std::any::Any;
use std::collections::BTreeSet;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use crate::faults::Step as _;
use crate::saga::batch::{Loaded, Lookup, NewDoubt, SavedOrder};
use crate::saga::catalog::Catalog;
use crate::saga::decide::{Plan, Work};
use crate::saga::journal::LifeChange;
use crate::saga::order::{DoubtKind, Status};
use crate::store::{Beside, Committed, Decide, Store, StoreError};
use crate::telemetry::traces::Ended;
use crate::telemetry::{ClassLabel, Metrics, ResultLabel, Traces};

use super::alerting::Troubles;
use super::incidents::heard::Heard;
use super::queues::Findings;
use super::sight::Sight;

/// What the loops of one process share.
pub struct Escrow {
    pub store: Arc<dyn Store>,
    catalog: RwLock<Arc<Catalog>>,
    pub nudges: Nudges,
    pub sight: Sight,
    /// What was found in the queues of services that somebody waits for.
    pub queues: Findings,
    /// Channels that cannot be told of anything now.
    pub troubles: Troubles,
    pub heard: Heard,
    pub metrics: Arc<Metrics>,
    /// Where traces go, if they are wanted; set before the loops begin.
    pub traces: OnceLock<Traces>,
    /// New versions of a saga open no orders before the looks say that their bindings stand.
    holds_versions: AtomicBool,
}

/// Wake-ups without data.
pub struct Nudges {
    /// Something was written to the outbox.
    pub outbox: Notify,
    /// A watermark moved.
    pub watermark: Notify,
    /// A doubt went.
    pub doubts: Notify,
    /// An action on many orders began.
    pub bulk: Notify,
    /// An order is stuck.
    pub stuck: Notify,
    /// There is something to tell people; each channel has a loop of its own, so all of them are to be notified.
    pub notices: Notify,
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
            nudges: Nudges {
                outbox: Notify::new(),
                doubts: Notify::new(),
                bulk: Notify::new(),
                stuck: Notify::new(),
                notices: Notify::new(),
                watermark: Notify::new(),
                armed: Notify::new(),
                sleeping_for: AtomicI64::new(i64::MAX),
                journal: watch::Sender::new(0),
            },
            sight: Sight::default(),
            queues: Findings::default(),
            troubles: Troubles::default(),
            heard: Heard::default(),
            metrics,
            traces: OnceLock::new(),
            holds_versions: AtomicBool::new(false),
        }
    }

    /// The definitions followed now.
    pub fn catalog(&self) -> Arc<Catalog> {
        Arc::clone(&self.catalog.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Follows other definitions from the next batch on. Versions newer than those followed now are held back where there is a
    /// tap to be bound first.
    pub fn set_catalog(&self, mut catalog: Catalog) {
        let mut current = self.catalog.write().unwrap_or_else(PoisonError::into_inner);
        catalog.rest(current.idle().clone());
        if self.holds_versions.load(Ordering::Acquire) {
            for saga in current.newest_all() {
                catalog.hold_at(&saga.name, saga.version);
            }
        }
        *current = Arc::new(catalog);
    }

    /// From now on, versions above these open no orders until [`follow`](Self::follow) says so.
    pub fn hold_versions(&self, above: &[(String, u32)]) {
        self.holds_versions.store(true, Ordering::Release);
        self.follow(above);
    }

    /// The versions that open orders from the next batch on.
    pub fn follow(&self, versions: &[(String, u32)]) {
        let mut current = self.catalog.write().unwrap_or_else(PoisonError::into_inner);
        let mut catalog = (**current).clone();
        for (saga, version) in versions {
            catalog.hold_at(saga, *version);
        }
        *current = Arc::new(catalog);
    }

    /// Which versions are idle: from now on nothing is watched for them.
    pub fn rest(&self, idle: BTreeSet<(String, u32)>) {
        let mut current = self.catalog.write().unwrap_or_else(PoisonError::into_inner);
        if *current.idle() != idle {
            let mut catalog = (**current).clone();
            catalog.rest(idle);
            *current = Arc::new(catalog);
        }
    }

    /// A plan for `work` with everything else as it is now.
    pub fn plan(&self, work: Vec<Work>) -> Plan {
        Plan::of(self.catalog(), work, crate::wire::stored_event)
    }

    /// Decides and saves one batch, then wakes whoever has something to do.
    ///
    /// Resolves as [`Store::apply`] does: on an error nothing was saved, or everything was and the answer was lost.
    pub fn commit(&self, plan: impl Into<Arc<Plan>>) -> BoxFuture<'_, Result<Committed, StoreError>> {
        let plan: Arc<Plan> = plan.into();
        Box::pin(async move {
            let attempt = Attempt::of(plan);
            // One input that breaks the program must not take the loop along: it is refused, and found like any other.
            let applied = AssertUnwindSafe(self.store.apply(attempt.lookup(), attempt.decide()))
                .catch_unwind()
                .at("escrow.apply")
                .await;
            self.done(&attempt, applied.unwrap_or_else(|panic| Err(broken(&*panic))))
        })
    }

    /// Decides and saves two batches that share no order, as [`Store::apply_beside`] does.
    pub fn commit_beside(&self, [first, last]: [Arc<Plan>; 2]) -> BoxFuture<'_, Beside> {
        Box::pin(async move {
            let (first, last) = (Attempt::of(first), Attempt::of(last));
            let beside = self.store.apply_beside((first.lookup(), first.decide()), (last.lookup(), last.decide()));
            match AssertUnwindSafe(beside).catch_unwind().await {
                Ok(Beside { first: one, last: other }) => {
                    Beside { first: self.done(&first, one), last: other.map(|other| self.done(&last, other)) }
                }
                Err(panic) => Beside { first: Err(broken(&*panic)), last: None },
            }
        })
    }

    fn done(&self, attempt: &Attempt, outcome: Result<Committed, StoreError>) -> Result<Committed, StoreError> {
        self.metrics.commit_duration.observe(attempt.began.elapsed().as_secs_f64());
        let conflicts = u64::from(attempt.decided.load(Ordering::Relaxed).saturating_sub(1));
        self.metrics.db_retries.get_or_create(&ClassLabel { class: "conflict" }).inc_by(conflicts);
        self.sight.wrote("commit", outcome.as_ref().err());
        let committed = outcome?;
        self.after_commit(&committed);
        Ok(committed)
    }

    /// Commits work of which each piece stands for itself. What the database refuses is left out, alone: the others must not
    /// suffer for it.
    ///
    /// # Errors
    /// The database cannot be used now; some of the work may be done.
    pub async fn commit_each(&self, work: Vec<Work>) -> Result<Vec<Committed>, StoreError> {
        let (mut done, mut pieces) = (Vec::new(), vec![work]);
        while let Some(mut piece) = pieces.pop().filter(|piece| !piece.is_empty()) {
            match self.commit(self.plan(piece.clone())).at("escrow.commit_piece").await {
                Ok(committed) => done.push(committed),
                Err(error @ StoreError::Unavailable(_)) => return Err(error),
                Err(error) if piece.len() == 1 => {
                    tracing::error!(error = %super::chain_of(&error), work = ?piece, "the database refuses this; it will be tried again");
                }
                Err(_) => {
                    let second = piece.split_off(piece.len() / 2);
                    pieces.extend([second, piece]);
                }
            }
        }
        Ok(done)
    }

    /// Hands an order that ended over to whoever makes traces of them.
    fn trace_ended(&self, saved: &SavedOrder) {
        let Some((traces, sequence)) = self.traces.get().zip(end_of(saved)) else { return };
        if !traces.ended(Ended { key: saved.order.key.clone(), sequence }) {
            self.metrics.order_traces.get_or_create(&ResultLabel { result: "dropped" }).inc();
        }
    }

    fn after_commit(&self, committed: &Committed) {
        let changes = &committed.changes;
        self.metrics.count(&changes.tally);
        for saved in &changes.orders {
            self.metrics.finish(saved);
            self.trace_ended(saved);
        }
        self.metrics.coverage_gaps.inc_by(
            changes.doubts.iter().filter(|doubt| doubt.kind == DoubtKind::Gap && doubt.order_id.is_none()).count()
                as u64,
        );
        if changes.doubts.iter().any(NewDoubt::is_lost_commits) {
            tracing::error!("the database has forgotten what was committed: a gap");
            self.sight.remember(None);
        }
        for delay in &changes.fire_delays {
            self.metrics.deadline_fire_delay.observe(delay.as_secs_f64());
        }
        for saved in changes.states.iter().filter(|saved| !saved.entries.is_empty()) {
            tracing::error!(saga = saved.saga, "the brake holds: too many orders turned back by timeout");
        }
        self.heard.committed(&self.catalog(), &changes.orders, committed.now);
        if changes.orders.iter().any(|saved| saved.order.life.status == Status::Stuck) {
            self.nudges.stuck.notify_one();
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

/// A plan on its way through the store.
struct Attempt {
    plan: Arc<Plan>,
    began: Instant,
    /// How often it was decided: more than once after a conflict.
    decided: Arc<AtomicU32>,
}

impl Attempt {
    fn of(plan: Arc<Plan>) -> Self {
        Self { plan, began: Instant::now(), decided: Arc::default() }
    }

    fn lookup(&self) -> Lookup {
        self.plan.lookup()
    }

    fn decide(&self) -> Decide {
        let (plan, decided) = (Arc::clone(&self.plan), Arc::clone(&self.decided));
        Arc::new(move |loaded: &Loaded| {
            decided.fetch_add(1, Ordering::Relaxed);
            plan.decide(loaded)
        })
    }
}

/// The journal entry that ended the order, if it ended.
fn end_of(saved: &SavedOrder) -> Option<u64> {
    let ends = |life: &LifeChange| !life.from.is_ended() && life.now.status.is_ended();
    let entries = saved.entries.iter().map(|sealed| &sealed.entry);
    entries.filter(|entry| entry.body.life.as_deref().is_some_and(ends)).map(|entry| entry.sequence).next_back()
}

/// A program that broke over its input; nothing was saved.
fn broken(panic: &(dyn Any + Send)) -> StoreError {
    StoreError::Corrupt(format!("the program broke over it: {}", super::words_of(panic)))
}
