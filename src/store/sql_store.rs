//! The two traits over SQL: each method hands its use case to [`SqlStore::run`].

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use uuid::Uuid;

use super::beside::{self, Turn};
use super::catalog;
use super::run::SqlStore;
use super::saga_states::{Change, What};
use super::session::Access;
use super::{
    Backlog, Beside, BindingRow, Bulk, BulkAsk, BulkOrder, BulkOutcome, BulkState, BulkTurn, Claimed, Committed,
    Connections, Decide, DefinitionRow, EventMet, IncidentChanges, IncidentFilter, JournalFilter, JournalRow, Listed,
    NewDefinition, NoticeRow, OpenCounts, OrderFilter, Page, QuarantineFilter, QuarantineGrowth, QuarantineRow, Query,
    Standing, StatusCount, StepStats, Store, StoreError, StoredPayload, StuckGroup, Switch, SwitchTo, TapRow,
};
use super::{
    apply, bulk, coverage, housekeeping, incidents, notices, orders, outbox, quarantine, saga_states, save, trail,
};
use crate::saga::batch::{Lookup, NewDoubt};
use crate::saga::brake::{Brake, SagaState};
use crate::saga::definition::Mode;
use crate::saga::journal::Broken;
use crate::saga::order::{Doubt, Order, OrderKey};
use crate::saga::time::{Moment, Span};

type Answer<'a, T> = BoxFuture<'a, Result<T, StoreError>>;

impl SqlStore {
    fn apply_in_turn(&self, (lookup, decide): (Lookup, Decide), turn: Turn) -> Answer<'static, Committed> {
        let batch = apply::Batch { lookup, decide, named: Arc::clone(&self.named), turn };
        self.run(Access::Write, batch, |session, batch| Box::pin(apply::apply(session, batch)))
    }
}

impl Store for SqlStore {
    fn apply(&self, lookup: Lookup, decide: Decide) -> Answer<'_, Committed> {
        self.apply_in_turn((lookup, decide), Turn::Alone)
    }

    fn has_lanes(&self) -> bool {
        self.writes_side_by_side()
    }

    fn apply_beside(&self, first: (Lookup, Decide), last: (Lookup, Decide)) -> BoxFuture<'_, Beside> {
        if !self.has_lanes() {
            // The last would hold the one writer and wait for the first, which waits for the writer.
            return Box::pin(beside::one_after_the_other(self.apply(first.0, first.1), self.apply(last.0, last.1)));
        }
        let (turn, after) = beside::turns();
        let first = self.apply_in_turn(first, Turn::First(turn.clone()));
        let last = self.apply_in_turn(last, Turn::Last(after));
        Box::pin(beside::together(turn, first, last))
    }

    fn next_due(&self, after: Option<Moment>) -> Answer<'_, Option<Moment>> {
        self.run(Access::Read, after, |session, after| Box::pin(orders::next_due(session, *after)))
    }

    fn claim_outbox(&self, owner: Uuid, lease: Span, limit: usize) -> Answer<'_, Vec<Claimed>> {
        self.run(Access::Write, (owner, lease, limit), |session, it| Box::pin(outbox::claim(session, it)))
    }

    fn release_outbox(&self, keys: Vec<Uuid>, after: Span) -> Answer<'_, ()> {
        self.run(Access::Write, (keys, after), |session, it| Box::pin(outbox::release(session, it)))
    }

    fn save_definition(&self, definition: NewDefinition) -> Answer<'_, ()> {
        self.run(Access::Write, definition, |session, it| Box::pin(catalog::save_definition(session, it)))
    }

    fn set_mode(&self, saga: String, mode: Mode, actor: String, reason: String) -> Answer<'_, ()> {
        let change = Change { saga, what: What::Mode(mode), actor, reason };
        self.run(Access::Write, change, |session, it| {
            Box::pin(async move { saga_states::change(session, it).await.map(drop) })
        })
    }

    fn reset_brake(&self, saga: String, actor: String, reason: String) -> Answer<'_, Brake> {
        let change = Change { saga, what: What::BrakeReset, actor, reason };
        self.run(Access::Write, change, |session, it| Box::pin(saga_states::change(session, it)))
    }

    fn apply_version(&self, saga: String, version: u32, actor: String, reason: String) -> Answer<'_, ()> {
        let change = Change { saga, what: What::Version(version), actor, reason };
        self.run(Access::Write, change, |session, it| {
            Box::pin(async move { saga_states::change(session, it).await.map(drop) })
        })
    }

    fn forget_binding(&self, tap: String, exchange: String) -> Answer<'_, ()> {
        self.run(Access::Write, (tap, exchange), |session, it| Box::pin(catalog::forget_binding(session, it)))
    }

    fn tap(&self, name: String) -> Answer<'_, TapRow> {
        self.run(Access::Write, name, |session, name| Box::pin(catalog::tap(session, name)))
    }

    fn save_binding(&self, tap: String, binding: BindingRow) -> Answer<'_, ()> {
        self.run(Access::Write, (tap, binding), |session, it| Box::pin(catalog::save_binding(session, it)))
    }

    fn switch(&self, tap: String) -> Answer<'_, Option<Switch>> {
        self.run(Access::Read, tap, |session, tap| Box::pin(catalog::switch(session, tap)))
    }

    fn set_switch(&self, to: SwitchTo) -> Answer<'_, ()> {
        self.run(Access::Write, to, |session, to| Box::pin(catalog::set_switch(session, to)))
    }

    fn accepting(&self, name: String, pause: Span) -> Answer<'_, TapRow> {
        self.run(Access::Write, (name, pause), |session, it| Box::pin(catalog::accepting(session, it)))
    }

    fn record_doubts(&self, doubts: Vec<NewDoubt>) -> Answer<'_, ()> {
        self.run(Access::Write, doubts, |session, doubts| {
            Box::pin(async move {
                let now = housekeeping::now(session).await?;
                save::save_doubts(session, doubts, &[], now).await
            })
        })
    }

    fn lease(&self, name: String, owner: Uuid, lease: Span) -> Answer<'_, bool> {
        self.run(Access::Write, (name, owner, lease), |session, it| Box::pin(housekeeping::lease(session, it)))
    }

    fn begin_bulk(&self, id: Uuid, ask: BulkAsk) -> Answer<'_, Option<Bulk>> {
        self.run(Access::Write, (id, ask), |session, it| Box::pin(bulk::begin(session, it)))
    }

    fn claim_bulk(&self, owner: Uuid, lease: Span) -> Answer<'_, BulkTurn> {
        self.run(Access::Write, (owner, lease), |session, it| Box::pin(bulk::claim(session, it)))
    }

    fn settle_bulk(&self, id: Uuid, place: u64, outcome: BulkOutcome, every: Span) -> Answer<'_, ()> {
        self.run(Access::Write, (id, place, outcome, every), |session, it| Box::pin(bulk::settle(session, it)))
    }

    fn stop_bulk(&self, id: Uuid, actor: String, reason: String) -> Answer<'_, Option<Bulk>> {
        self.run(Access::Write, (id, actor, reason), |session, it| Box::pin(bulk::stop_and_find(session, it)))
    }

    fn save_incidents(&self, owner: Uuid, changes: IncidentChanges) -> Answer<'_, bool> {
        self.run(Access::Write, (owner, changes), |session, it| Box::pin(incidents::save(session, it)))
    }

    fn ack_incident(&self, id: String, actor: String, reason: String) -> Answer<'_, Option<Standing>> {
        self.run(Access::Write, (id, actor, reason), |session, it| Box::pin(incidents::ack(session, it)))
    }

    fn purge(&self, before: Moment) -> Answer<'_, u64> {
        Box::pin(async move {
            let mut gone = 0;
            // A transaction for each piece, so that nobody waits long.
            loop {
                let some =
                    self.run(Access::Write, before, |session, it| Box::pin(housekeeping::purge_some(session, *it)));
                match some.await? {
                    0 => return Ok(gone),
                    more => gone += more,
                }
            }
        })
    }

    fn refresh_stats(&self, since: Moment) -> Answer<'_, ()> {
        self.run(Access::Write, since, |session, since| Box::pin(housekeeping::refresh_stats(session, *since)))
    }

    fn connections(&self) -> Connections {
        self.connections_of_backend()
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        self.close_backend()
    }
}

impl Query for SqlStore {
    fn now(&self) -> Answer<'_, Moment> {
        self.run(Access::Read, (), |session, ()| Box::pin(housekeeping::now(session)))
    }

    fn due_orders(&self, watermarks: BTreeMap<String, Moment>, limit: usize) -> Answer<'_, Vec<OrderKey>> {
        self.run(Access::Read, (watermarks, limit), |session, it| Box::pin(orders::due(session, it)))
    }

    fn find_order(&self, key: OrderKey) -> Answer<'_, Option<Order>> {
        self.run(Access::Read, key, |session, key| Box::pin(orders::find(session, key)))
    }

    fn list_orders(&self, filter: OrderFilter, page: Page) -> Answer<'_, Listed<Order>> {
        self.run(Access::Read, (filter, page), |session, it| Box::pin(orders::list(session, it)))
    }

    fn count_orders(&self, filter: OrderFilter) -> Answer<'_, u64> {
        self.run(Access::Read, filter, |session, filter| Box::pin(orders::count(session, filter)))
    }

    fn count_by_status(&self) -> Answer<'_, Vec<StatusCount>> {
        self.run(Access::Read, (), |session, ()| Box::pin(orders::count_by_status(session)))
    }

    fn count_open(&self) -> Answer<'_, OpenCounts> {
        self.run(Access::Read, (), |session, ()| Box::pin(orders::count_open(session)))
    }

    fn stuck_groups(&self) -> Answer<'_, Vec<StuckGroup>> {
        self.run(Access::Read, (), |session, ()| Box::pin(orders::stuck_groups(session)))
    }

    fn open_incidents(&self) -> Answer<'_, Vec<Standing>> {
        self.run(Access::Read, (), |session, ()| Box::pin(incidents::open(session)))
    }

    fn incidents(&self, filter: IncidentFilter, page: Page) -> Answer<'_, Listed<Standing>> {
        self.run(Access::Read, (filter, page), |session, it| Box::pin(incidents::list(session, it)))
    }

    fn incident_episodes(&self, id: String, limit: usize) -> Answer<'_, Vec<Standing>> {
        self.run(Access::Read, (id, limit), |session, it| Box::pin(incidents::episodes(session, it)))
    }

    fn incident_notices(&self, id: String, episode: u64, limit: usize) -> Answer<'_, Vec<NoticeRow>> {
        self.run(Access::Read, (id, episode, limit), |session, it| Box::pin(notices::of_incident(session, it)))
    }

    fn last_episodes(&self, ids: Vec<String>) -> Answer<'_, BTreeMap<String, u64>> {
        self.run(Access::Read, ids, |session, ids| Box::pin(incidents::last_episodes(session, ids)))
    }

    fn quarantine_growth(&self, since: Moment) -> Answer<'_, Vec<QuarantineGrowth>> {
        self.run(Access::Read, since, |session, since| Box::pin(incidents::quarantine_growth(session, *since)))
    }

    fn audit(&self, key: OrderKey, after: u64, limit: usize) -> Answer<'_, Vec<JournalRow>> {
        self.run(Access::Read, (key, after, limit), |session, it| Box::pin(trail::audit(session, it)))
    }

    fn journal(&self, filter: JournalFilter, page: Page) -> Answer<'_, Listed<JournalRow>> {
        self.run(Access::Read, (filter, page), |session, it| Box::pin(trail::list(session, it)))
    }

    fn journal_since(&self, after: i64, limit: usize) -> Answer<'_, Vec<JournalRow>> {
        self.run(Access::Read, (after, limit), |session, it| Box::pin(trail::since(session, it)))
    }

    fn payload(&self, key: OrderKey, sequence: u64) -> Answer<'_, Option<StoredPayload>> {
        self.run(Access::Read, (key, sequence), |session, it| Box::pin(trail::payload(session, it)))
    }

    fn verify(&self, key: OrderKey) -> Answer<'_, Result<u64, Broken>> {
        self.run(Access::Snapshot, key, |session, key| Box::pin(trail::verify(session, key)))
    }

    fn keys_after(&self, after: Option<OrderKey>, limit: usize) -> Answer<'_, Vec<OrderKey>> {
        self.run(Access::Read, (after, limit), |session, it| Box::pin(orders::keys_after(session, it)))
    }

    fn definitions(&self) -> Answer<'_, Vec<DefinitionRow>> {
        self.run(Access::Read, (), |session, ()| Box::pin(catalog::definitions(session)))
    }

    fn modes(&self) -> Answer<'_, BTreeMap<String, Mode>> {
        self.run(Access::Read, (), |session, ()| Box::pin(catalog::modes(session)))
    }

    fn saga_states(&self) -> Answer<'_, BTreeMap<String, SagaState>> {
        self.run(Access::Read, (), |session, ()| Box::pin(saga_states::all(session)))
    }

    fn quarantine(&self, filter: QuarantineFilter, page: Page) -> Answer<'_, Listed<QuarantineRow>> {
        self.run(Access::Read, (filter, page), |session, it| Box::pin(quarantine::list(session, it)))
    }

    fn quarantined(&self, id: i64) -> Answer<'_, Option<QuarantineRow>> {
        self.run(Access::Read, id, |session, id| Box::pin(quarantine::find(session, *id)))
    }

    fn quarantine_reasons(&self) -> Answer<'_, Vec<(String, u64)>> {
        self.run(Access::Read, (), |session, ()| Box::pin(quarantine::reasons(session)))
    }

    fn doubts(&self, limit: usize) -> Answer<'_, Vec<Doubt>> {
        self.run(Access::Read, limit, |session, limit| Box::pin(quarantine::doubts(session, *limit)))
    }

    fn bindings(&self, tap: String) -> Answer<'_, Vec<BindingRow>> {
        self.run(Access::Read, tap, |session, tap| Box::pin(catalog::bindings(session, tap)))
    }

    fn stats(&self, saga: String, window: Option<Span>) -> Answer<'_, Vec<StepStats>> {
        self.run(Access::Read, (saga, window), |session, it| Box::pin(housekeeping::stats(session, it)))
    }

    fn bulk(&self, id: Uuid) -> Answer<'_, Option<Bulk>> {
        self.run(Access::Read, id, |session, id| Box::pin(bulk::find(session, id)))
    }

    fn bulks(&self, state: Option<BulkState>, page: Page) -> Answer<'_, Listed<Bulk>> {
        self.run(Access::Read, (state, page), |session, it| Box::pin(bulk::list(session, it)))
    }

    fn bulk_orders(&self, id: Uuid, outcome: Option<String>, page: Page) -> Answer<'_, Listed<BulkOrder>> {
        self.run(Access::Read, (id, outcome, page), |session, it| Box::pin(bulk::orders(session, it)))
    }

    fn outbox_backlog(&self) -> Answer<'_, Backlog> {
        self.run(Access::Read, (), |session, ()| Box::pin(outbox::backlog(session)))
    }

    fn events_met(&self, saga: String) -> Answer<'_, Vec<EventMet>> {
        self.run(Access::Read, saga, |session, saga| Box::pin(coverage::events_met(session, saga)))
    }
}
