//! A store that can be made to fail: away, refusing one order, or losing the answer to a commit.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use escrow::saga::batch::{Lookup, NewDoubt};
use escrow::saga::brake::{Brake, SagaState};
use escrow::saga::definition::Mode;
use escrow::saga::incident::Incident;
use escrow::saga::incident::decide::{Changes as IncidentChanges, Standing};
use escrow::saga::journal::Broken;
use escrow::saga::order::{Doubt, Order, OrderKey};
use escrow::saga::time::{Moment, Span};
use escrow::store::{
    Backlog, BindingRow, Bulk, BulkAsk, BulkOrder, BulkOutcome, BulkState, BulkTurn, Claimed, Committed, Connections,
    Decide, DefinitionRow, EventMet, IncidentFilter, JournalFilter, JournalRow, Listed, NewDefinition, OpenCounts,
    OrderFilter, Page, QuarantineFilter, QuarantineGrowth, QuarantineRow, Query, StatusCount, StepStats, Store,
    StoreError, StoredPayload, StuckGroup, Switch, SwitchTo, TapRow,
};
use escrow::store::{ClaimedNotice, NoticeRow, NoticeVerdict, Notices};
use futures_util::future::BoxFuture;
use uuid::Uuid;

/// What fails.
#[derive(Default)]
pub struct Faults {
    /// Nothing can be done.
    pub away: AtomicBool,
    /// Batches of events are committed, and the answer is lost; nothing else can be written.
    pub deaf: AtomicBool,
    /// The next batch over more than fifty orders is committed, and the answer is lost.
    pub deaf_once: AtomicBool,
    /// Batches that touch an order with this id are refused.
    pub refuses_poison: AtomicBool,
    /// Deciding such batches breaks the program.
    pub breaks_on_poison: AtomicBool,
    /// How often a batch was refused.
    pub refused: AtomicU32,
}

pub const POISON: &str = "poison";

/// A store with faults.
pub struct Faulty {
    pub inner: Arc<dyn Store>,
    pub faults: Arc<Faults>,
}

type Answer<'a, T> = BoxFuture<'a, Result<T, StoreError>>;

fn gone() -> StoreError {
    StoreError::Unavailable(sqlx::Error::PoolTimedOut)
}

impl Faulty {
    fn guard<'a, T: Send + 'a>(&'a self, call: Answer<'a, T>) -> Answer<'a, T> {
        Box::pin(async move {
            let is_away = self.faults.away.load(Ordering::SeqCst) || self.faults.deaf.load(Ordering::SeqCst);
            if is_away { Err(gone()) } else { call.await }
        })
    }
}

macro_rules! guarded {
    ($($name:ident($($argument:ident: $kind:ty),*) -> $answer:ty;)+) => {
        $(fn $name(&self, $($argument: $kind),*) -> Answer<'_, $answer> { self.guard(self.inner.$name($($argument),*)) })+
    };
}

impl Store for Faulty {
    fn apply(&self, lookup: Lookup, decide: Decide) -> Answer<'_, Committed> {
        Box::pin(async move {
            if self.faults.away.load(Ordering::SeqCst) {
                return Err(gone());
            }
            let is_poison = lookup.orders.iter().any(|key| key.order_id == POISON);
            if is_poison && self.faults.refuses_poison.load(Ordering::SeqCst) {
                self.faults.refused.fetch_add(1, Ordering::SeqCst);
                return Err(StoreError::Refused(sqlx::Error::Protocol("not this one".to_owned())));
            }
            assert!(!(is_poison && self.faults.breaks_on_poison.load(Ordering::SeqCst)), "the program breaks");
            let has_many = lookup.orders.len() > 50;
            let committed = self.inner.apply(lookup, decide).await;
            if has_many && self.faults.deaf_once.swap(false, Ordering::SeqCst) {
                return Err(gone());
            }
            if self.faults.deaf.load(Ordering::SeqCst) { Err(gone()) } else { committed }
        })
    }

    fn connections(&self) -> Connections {
        self.inner.connections()
    }

    /// The database stays open for the test, and for the next Escrow on it.
    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }

    guarded! {
        next_due(after: Option<Moment>) -> Option<Moment>;
        claim_outbox(owner: Uuid, lease: Span, limit: usize) -> Vec<Claimed>;
        release_outbox(keys: Vec<Uuid>, after: Span) -> ();
        save_definition(definition: NewDefinition) -> ();
        set_mode(saga: String, mode: Mode, actor: String, reason: String) -> ();
        apply_version(saga: String, version: u32, actor: String, reason: String) -> ();
        reset_brake(saga: String, actor: String, reason: String) -> Brake;
        tap(name: String) -> TapRow;
        save_binding(tap: String, binding: BindingRow) -> ();
        forget_binding(tap: String, exchange: String) -> ();
        switch(tap: String) -> Option<Switch>;
        set_switch(to: SwitchTo) -> ();
        accepting(name: String, pause: Span) -> TapRow;
        record_doubts(doubts: Vec<NewDoubt>) -> ();
        save_incidents(owner: Uuid, changes: IncidentChanges) -> bool;
        ack_incident(id: String, actor: String, reason: String) -> Option<Standing>;
        lease(name: String, owner: Uuid, lease: Span) -> bool;
        begin_bulk(id: Uuid, ask: BulkAsk) -> Option<Bulk>;
        claim_bulk(owner: Uuid, lease: Span) -> BulkTurn;
        settle_bulk(id: Uuid, place: u64, outcome: BulkOutcome, every: Span) -> ();
        stop_bulk(id: Uuid, actor: String, reason: String) -> Option<Bulk>;
        purge(before: Moment) -> u64;
        refresh_stats(since: Moment) -> ();
    }
}

impl Notices for Faulty {
    guarded! {
        claim_notice(channel: String, owner: Uuid, lease: Span) -> Option<ClaimedNotice>;
        settle_notice(key: Uuid, verdict: NoticeVerdict) -> ();
        release_notice(key: Uuid, owner: Uuid, after: Span, problem: String) -> ();
        standing_notices(channel: String, resolved_for: Span) -> Vec<Incident>;
    }
}

impl Query for Faulty {
    guarded! {
        now() -> Moment;
        incident_notices(id: String, episode: u64, limit: usize) -> Vec<NoticeRow>;
        due_orders(watermarks: BTreeMap<String, Moment>, limit: usize) -> Vec<OrderKey>;
        find_order(key: OrderKey) -> Option<Order>;
        list_orders(filter: OrderFilter, page: Page) -> Listed<Order>;
        count_orders(filter: OrderFilter) -> u64;
        count_by_status() -> Vec<StatusCount>;
        count_open() -> OpenCounts;
        stuck_groups() -> Vec<StuckGroup>;
        open_incidents() -> Vec<Standing>;
        incidents(filter: IncidentFilter, page: Page) -> Listed<Standing>;
        incident_episodes(id: String, limit: usize) -> Vec<Standing>;
        last_episodes(ids: Vec<String>) -> BTreeMap<String, u64>;
        quarantine_growth(since: Moment) -> Vec<QuarantineGrowth>;
        audit(key: OrderKey, after: u64, limit: usize) -> Vec<JournalRow>;
        journal(filter: JournalFilter, page: Page) -> Listed<JournalRow>;
        journal_since(after: i64, limit: usize) -> Vec<JournalRow>;
        payload(key: OrderKey, sequence: u64) -> Option<StoredPayload>;
        verify(key: OrderKey) -> Result<u64, Broken>;
        keys_after(after: Option<OrderKey>, limit: usize) -> Vec<OrderKey>;
        definitions() -> Vec<DefinitionRow>;
        modes() -> BTreeMap<String, Mode>;
        saga_states() -> BTreeMap<String, SagaState>;
        quarantine(filter: QuarantineFilter, page: Page) -> Listed<QuarantineRow>;
        quarantined(id: i64) -> Option<QuarantineRow>;
        quarantine_reasons() -> Vec<(String, u64)>;
        doubts(limit: usize) -> Vec<Doubt>;
        bindings(tap: String) -> Vec<BindingRow>;
        stats(saga: String, window: Option<Span>) -> Vec<StepStats>;
        bulk(id: Uuid) -> Option<Bulk>;
        bulks(state: Option<BulkState>, page: Page) -> Listed<Bulk>;
        bulk_orders(id: Uuid, outcome: Option<String>, page: Page) -> Listed<BulkOrder>;
        outbox_backlog() -> Backlog;
        events_met(saga: String) -> Vec<EventMet>;
    }
}
