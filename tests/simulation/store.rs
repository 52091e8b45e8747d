//! The real store, with a point before and after every call, and faults: away, refusing, conflicts, an answer that is lost
//! after the commit. It shows the judge what was truly committed.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use escrow::saga::batch::{Loaded, Lookup, NewDoubt};
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

use crate::check::Commit;
use crate::pace::{is_disturbed, point, real};
use crate::tap::TAP;
use crate::world::{Shared, lock};

/// The store of one replica.
pub struct SimStore {
    pub inner: Arc<dyn Store>,
    pub world: Shared,
    pub replica: usize,
}

type Answer<'a, T> = BoxFuture<'a, Result<T, StoreError>>;

fn away() -> StoreError {
    StoreError::Unavailable(sqlx::Error::PoolTimedOut)
}

impl SimStore {
    /// Whether the call does not even reach the database.
    fn is_away(&self) -> bool {
        let mut world = lock(&self.world);
        let now = world.now();
        if is_disturbed() && (world.away_until > now || world.chaos(1)) {
            *world.counts.entry("fault: database away").or_default() += 1;
            return true;
        }
        false
    }

    fn loses_answer(&self, weight: usize) -> bool {
        let mut world = lock(&self.world);
        let lost = is_disturbed() && world.chaos(weight);
        if lost {
            *world.counts.entry("fault: answer of the database lost").or_default() += 1;
        }
        lost
    }

    fn guard<'a, T: Send + 'a>(&'a self, name: &'static str, call: Answer<'a, T>) -> Answer<'a, T> {
        Box::pin(async move {
            point(name).await;
            if self.is_away() {
                return Err(away());
            }
            let answer = real(call).await;
            point("store.answer").await;
            if self.loses_answer(1) { Err(away()) } else { answer }
        })
    }

    /// A call whose effect somebody has to see at once.
    fn watched<'a, T: Send + 'a>(
        &'a self,
        name: &'static str,
        call: Answer<'a, T>,
        see: impl FnOnce(&Self, &T) + Send + 'a,
    ) -> Answer<'a, T> {
        let seen = Box::pin(async move {
            let answer = call.await;
            if let Ok(value) = &answer {
                see(self, value);
            }
            answer
        });
        self.guard(name, seen)
    }
}

macro_rules! guarded {
    ($($name:ident($($argument:ident: $kind:ty),*) -> $answer:ty;)+) => {
        $(fn $name(&self, $($argument: $kind),*) -> Answer<'_, $answer> {
            self.guard(concat!("store.", stringify!($name)), self.inner.$name($($argument),*))
        })+
    };
}

impl Store for SimStore {
    fn connections(&self) -> Connections {
        self.inner.connections()
    }

    fn apply(&self, lookup: Lookup, decide: Decide) -> Answer<'_, Committed> {
        Box::pin(async move {
            point("store.apply").await;
            if self.is_away() {
                return Err(away());
            }
            let (conflicts, refuses) = {
                let mut world = lock(&self.world);
                let poisoned = lookup.orders.iter().any(|key| world.poison.as_ref() == Some(&key.order_id));
                (is_disturbed() && world.chaos(5), poisoned && !world.calm)
            };
            if refuses {
                *lock(&self.world).counts.entry("fault: database refuses").or_default() += 1;
                return Err(StoreError::Refused(sqlx::Error::Protocol("not this one".to_owned())));
            }
            let from_tap = lookup.tap.is_some();
            let seen: Arc<Mutex<Option<Loaded>>> = Arc::default();
            let keep = Arc::clone(&seen);
            let watched: Decide = Arc::new(move |loaded: &Loaded| {
                *keep.lock().unwrap_or_else(PoisonError::into_inner) = Some(loaded.clone());
                if conflicts {
                    // A conflict: what was decided first is forgotten.
                    drop(decide(loaded));
                }
                decide(loaded)
            });
            let answer = real(self.inner.apply(lookup, watched)).await;
            let answer_lost = self.loses_answer(4);
            if let Ok(committed) = &answer {
                self.committed(committed, seen.lock().unwrap_or_else(PoisonError::into_inner).take(), from_tap);
            }
            point("store.applied").await;
            if answer_lost { Err(away()) } else { answer }
        })
    }

    fn claim_outbox(&self, owner: Uuid, lease: Span, limit: usize) -> Answer<'_, Vec<Claimed>> {
        let call = self.inner.claim_outbox(owner, lease, limit);
        self.watched("store.claim_outbox", call, move |store, claimed: &Vec<Claimed>| {
            let keys: Vec<Uuid> = claimed.iter().map(|row| row.outgoing.key).collect();
            let mut world = lock(&store.world);
            let now = world.now();
            world.judge.claimed(owner, &keys, lease, now);
        })
    }

    fn release_outbox(&self, keys: Vec<Uuid>, after: Span) -> Answer<'_, ()> {
        let call = self.inner.release_outbox(keys.clone(), after);
        self.watched("store.release_outbox", call, move |store, ()| lock(&store.world).judge.released(&keys))
    }

    fn tap(&self, name: String) -> Answer<'_, TapRow> {
        let is_tap = name == TAP;
        self.watched("store.tap", self.inner.tap(name), move |store, row: &TapRow| {
            if is_tap {
                lock(&store.world).judge.watermark_read(row.watermark);
            }
        })
    }

    fn save_binding(&self, tap: String, binding: BindingRow) -> Answer<'_, ()> {
        let (exchange, bound) = (binding.exchange.clone(), binding.bound);
        self.watched("store.save_binding", self.inner.save_binding(tap, binding), move |store, ()| {
            if let Some(exchange) = lock(&store.world).broker.exchanges.get_mut(&exchange) {
                exchange.absence_known = !bound && !exchange.present;
            }
        })
    }

    fn record_doubts(&self, doubts: Vec<NewDoubt>) -> Answer<'_, ()> {
        let call = self.inner.record_doubts(doubts.clone());
        self.watched("store.record_doubts", call, move |store, ()| {
            let mut world = lock(&store.world);
            let now = world.now();
            world.judge.doubts_recorded(&doubts, now);
        })
    }

    /// The database stays.
    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }

    guarded! {
        next_due(after: Option<Moment>) -> Option<Moment>;
        save_definition(definition: NewDefinition) -> ();
        set_mode(saga: String, mode: Mode, actor: String, reason: String) -> ();
        apply_version(saga: String, version: u32, actor: String, reason: String) -> ();
        reset_brake(saga: String, actor: String, reason: String) -> Brake;
        forget_binding(tap: String, exchange: String) -> ();
        switch(tap: String) -> Option<Switch>;
        set_switch(to: SwitchTo) -> ();
        begin_bulk(id: Uuid, ask: BulkAsk) -> Option<Bulk>;
        claim_bulk(owner: Uuid, lease: Span) -> BulkTurn;
        settle_bulk(id: Uuid, place: u64, outcome: BulkOutcome, every: Span) -> ();
        stop_bulk(id: Uuid, actor: String, reason: String) -> Option<Bulk>;
        accepting(name: String, pause: Span) -> TapRow;
        save_incidents(owner: Uuid, changes: IncidentChanges) -> bool;
        ack_incident(id: String, actor: String, reason: String) -> Option<Standing>;
        lease(name: String, owner: Uuid, lease: Span) -> bool;
        purge(before: Moment) -> u64;
        refresh_stats(since: Moment) -> ();
    }
}

impl SimStore {
    fn committed(&self, committed: &Committed, loaded: Option<Loaded>, from_tap: bool) {
        let Some(loaded) = loaded else { return };
        let mut world = lock(&self.world);
        let world = &mut *world;
        let changes = &committed.changes;
        for saved in &changes.orders {
            let kinds: Vec<_> =
                saved.entries.iter().map(|it| (it.entry.kind.word(), it.entry.body.name.as_deref())).collect();
            let status = saved.order.life.status.word();
            world.trace.note(format_args!("r{} {} {status} {kinds:?}", self.replica, saved.order.key));
        }
        if from_tap {
            world.trace.note(format_args!(
                "{:?} {:?}",
                changes.tally,
                changes.tap.as_ref().and_then(|tap| tap.watermark)
            ));
        }
        for quarantined in &changes.quarantined {
            world.trace.note(format_args!("quarantined {:?} {}", quarantined.reason, quarantined.detail));
        }
        let commit = Commit { at: committed.now, loaded: &loaded, changes };
        world.judge.committed(&mut world.model, &commit);
    }
}

impl Notices for SimStore {
    guarded! {
        claim_notice(channel: String, owner: Uuid, lease: Span) -> Option<ClaimedNotice>;
        settle_notice(key: Uuid, verdict: NoticeVerdict) -> ();
        release_notice(key: Uuid, owner: Uuid, after: Span, problem: String) -> ();
        standing_notices(channel: String, resolved_for: Span) -> Vec<Incident>;
    }
}

impl Query for SimStore {
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
        bulk(id: Uuid) -> Option<Bulk>;
        bulks(state: Option<BulkState>, page: Page) -> Listed<Bulk>;
        bulk_orders(id: Uuid, outcome: Option<String>, page: Page) -> Listed<BulkOrder>;
        quarantine(filter: QuarantineFilter, page: Page) -> Listed<QuarantineRow>;
        quarantined(id: i64) -> Option<QuarantineRow>;
        quarantine_reasons() -> Vec<(String, u64)>;
        doubts(limit: usize) -> Vec<Doubt>;
        bindings(tap: String) -> Vec<BindingRow>;
        stats(saga: String, window: Option<Span>) -> Vec<StepStats>;
        outbox_backlog() -> Backlog;
        events_met(saga: String) -> Vec<EventMet>;
    }
}
