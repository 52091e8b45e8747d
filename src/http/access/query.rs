//! The store as a caller sees it who is kept to some sagas: of the others there is nothing.
//!
//! Handlers cannot tell this from a store that holds less, so none of them can forget to ask. What is outside is answered as what is
//! not there, by the same road: an order of a foreign saga is looked for where no order can be, so that neither the answer nor the
//! work behind it says which it was.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::BoxFuture;
use uuid::Uuid;

use super::merge::merged;
use super::scope::Scope;
use crate::saga::brake::SagaState;
use crate::saga::definition::Mode;
use crate::saga::incident::decide::Standing;
use crate::saga::journal::Broken;
use crate::saga::order::{Doubt, Order, OrderKey};
use crate::saga::time::{Moment, Span};
use crate::store::{
    Backlog, BindingRow, Bulk, BulkOrder, BulkState, DefinitionRow, EventMet, IncidentFilter, JournalFilter,
    JournalRow, Listed, NoticeRow, OpenCounts, OrderFilter, Page, QuarantineFilter, QuarantineGrowth, QuarantineRow,
    Query, StatusCount, StepStats, StoreError, StoredPayload, StuckGroup,
};

/// Rows read at once where foreign ones have to be passed over.
const PASSED_AT_ONCE: usize = 500;

/// Reads of that many before a search gives what it has.
const PASSES_MAX: usize = 20;

type Answer<'a, T> = BoxFuture<'a, Result<T, StoreError>>;

/// What is seen of a store.
pub struct ScopedQuery {
    inner: Arc<dyn Query>,
    scope: Scope,
    /// The sagas that are seen.
    names: Vec<String>,
    /// Of the live stream: where it was asked to go on last, and how far that was looked through.
    followed: Mutex<(i64, i64)>,
}

impl ScopedQuery {
    pub fn new(inner: Arc<dyn Query>, scope: Scope) -> Self {
        let names = scope.names().unwrap_or_default();
        Self { inner, scope, names, followed: Mutex::new((0, 0)) }
    }

    /// The key itself, or one that no order has: no saga has an empty name.
    fn key(&self, key: OrderKey) -> OrderKey {
        if self.scope.takes(&key.saga) { key } else { OrderKey { saga: String::new(), ..key } }
    }

    /// The sagas a list is read of: all that are seen, or the one asked for.
    fn sagas(&self, wanted: Option<&String>) -> Vec<String> {
        match wanted {
            None => self.names.clone(),
            Some(saga) => self.names.iter().filter(|it| *it == saga).cloned().collect(),
        }
    }

    fn seen<'a, T: Send + 'a>(&'a self, rows: Answer<'a, Vec<T>>, saga: fn(&T) -> &str) -> Answer<'a, Vec<T>> {
        Box::pin(async move {
            let mut rows = rows.await?;
            rows.retain(|row| self.scope.takes(saga(row)));
            Ok(rows)
        })
    }

    fn seen_by_name<'a, T: Send + 'a>(
        &'a self,
        rows: Answer<'a, BTreeMap<String, T>>,
    ) -> Answer<'a, BTreeMap<String, T>> {
        Box::pin(async move {
            let mut rows = rows.await?;
            rows.retain(|saga, _| self.scope.takes(saga));
            Ok(rows)
        })
    }
}

fn nothing<'a, T: Send + 'a>(nothing: T) -> Answer<'a, T> {
    Box::pin(async { Ok(nothing) })
}

fn no_rows<T>() -> Listed<T> {
    Listed { items: Vec::new(), next_cursor: None }
}

impl Query for ScopedQuery {
    fn now(&self) -> Answer<'_, Moment> {
        self.inner.now()
    }

    fn find_order(&self, key: OrderKey) -> Answer<'_, Option<Order>> {
        self.inner.find_order(self.key(key))
    }

    fn list_orders(&self, filter: OrderFilter, page: Page) -> Answer<'_, Listed<Order>> {
        match self.scope.narrow(filter) {
            Some(filter) => self.inner.list_orders(filter, page),
            None => nothing(no_rows()),
        }
    }

    fn due_orders(&self, mut watermarks: BTreeMap<String, Moment>, limit: usize) -> Answer<'_, Vec<OrderKey>> {
        watermarks.retain(|saga, _| self.scope.takes(saga));
        self.inner.due_orders(watermarks, limit)
    }

    fn count_orders(&self, filter: OrderFilter) -> Answer<'_, u64> {
        match self.scope.narrow(filter) {
            Some(filter) => self.inner.count_orders(filter),
            None => nothing(0),
        }
    }

    fn count_by_status(&self) -> Answer<'_, Vec<StatusCount>> {
        self.seen(self.inner.count_by_status(), |row| &row.saga)
    }

    fn count_open(&self) -> Answer<'_, OpenCounts> {
        Box::pin(async move {
            let mut counts = self.inner.count_open().await?;
            counts.waiting.retain(|row| self.scope.takes(&row.saga));
            // These are of all sagas together.
            counts.quarantine.clear();
            Ok(counts)
        })
    }

    fn stuck_groups(&self) -> Answer<'_, Vec<StuckGroup>> {
        self.seen(self.inner.stuck_groups(), |row| &row.saga)
    }

    fn open_incidents(&self) -> Answer<'_, Vec<Standing>> {
        self.seen(self.inner.open_incidents(), |row| &row.incident.about.saga)
    }

    fn incidents(&self, filter: IncidentFilter, page: Page) -> Answer<'_, Listed<Standing>> {
        let sagas = self.sagas(filter.saga.as_ref());
        Box::pin(async move {
            let newest = |it: &Standing| (it.incident.opened_at, it.incident.about.id(), it.incident.episode);
            let read = |at: usize, page| {
                self.inner.incidents(IncidentFilter { saga: Some(sagas[at].clone()), ..filter.clone() }, page)
            };
            merged(sagas.len(), page, newest, read).await
        })
    }

    fn incident_episodes(&self, id: String, limit: usize) -> Answer<'_, Vec<Standing>> {
        self.seen(self.inner.incident_episodes(id, limit), |row| &row.incident.about.saga)
    }

    fn incident_notices(&self, id: String, episode: u64, limit: usize) -> Answer<'_, Vec<NoticeRow>> {
        Box::pin(async move {
            if self.incident_episodes(id.clone(), 1).await?.is_empty() {
                return Ok(Vec::new());
            }
            self.inner.incident_notices(id, episode, limit).await
        })
    }

    fn last_episodes(&self, _ids: Vec<String>) -> Answer<'_, BTreeMap<String, u64>> {
        // An id says nothing of its saga, and only the loops ask for these.
        nothing(BTreeMap::new())
    }

    fn quarantine_growth(&self, since: Moment) -> Answer<'_, Vec<QuarantineGrowth>> {
        self.seen(self.inner.quarantine_growth(since), |row| &row.saga)
    }

    fn audit(&self, key: OrderKey, after: u64, limit: usize) -> Answer<'_, Vec<JournalRow>> {
        self.inner.audit(self.key(key), after, limit)
    }

    fn journal(&self, filter: JournalFilter, page: Page) -> Answer<'_, Listed<JournalRow>> {
        let sagas = self.sagas(filter.saga.as_ref());
        Box::pin(async move {
            let read = |at: usize, page| {
                self.inner.journal(JournalFilter { saga: Some(sagas[at].clone()), ..filter.clone() }, page)
            };
            merged(sagas.len(), page, |row: &JournalRow| (row.at, row.position), read).await
        })
    }

    fn journal_since(&self, after: i64, limit: usize) -> Answer<'_, Vec<JournalRow>> {
        Box::pin(async move {
            let mut from = {
                let (asked, looked) = *self.followed.lock().unwrap_or_else(PoisonError::into_inner);
                // Foreign entries that were passed over once are not read again.
                if asked == after { looked.max(after) } else { after }
            };
            loop {
                let mut rows = self.inner.journal_since(from, limit).await?;
                let is_all = rows.len() < limit;
                from = rows.last().map_or(from, |row| row.position);
                rows.retain(|row| self.scope.takes(&row.key.saga));
                if is_all || !rows.is_empty() {
                    *self.followed.lock().unwrap_or_else(PoisonError::into_inner) = (after, from);
                    return Ok(rows);
                }
            }
        })
    }

    fn payload(&self, key: OrderKey, sequence: u64) -> Answer<'_, Option<StoredPayload>> {
        self.inner.payload(self.key(key), sequence)
    }

    fn verify(&self, key: OrderKey) -> Answer<'_, Result<u64, Broken>> {
        self.inner.verify(self.key(key))
    }

    fn keys_after(&self, after: Option<OrderKey>, limit: usize) -> Answer<'_, Vec<OrderKey>> {
        Box::pin(async move {
            let (mut found, mut after) = (Vec::new(), after);
            for _ in 0..PASSES_MAX {
                let keys = self.inner.keys_after(after.take(), PASSED_AT_ONCE).await?;
                let is_all = keys.len() < PASSED_AT_ONCE;
                after = keys.last().cloned();
                found.extend(keys.into_iter().filter(|key| self.scope.takes(&key.saga)));
                if is_all || found.len() >= limit {
                    break;
                }
            }
            found.truncate(limit);
            Ok(found)
        })
    }

    fn definitions(&self) -> Answer<'_, Vec<DefinitionRow>> {
        self.seen(self.inner.definitions(), |row| &row.saga)
    }

    fn modes(&self) -> Answer<'_, BTreeMap<String, Mode>> {
        self.seen_by_name(self.inner.modes())
    }

    fn saga_states(&self) -> Answer<'_, BTreeMap<String, SagaState>> {
        self.seen_by_name(self.inner.saga_states())
    }

    fn quarantine(&self, filter: QuarantineFilter, page: Page) -> Answer<'_, Listed<QuarantineRow>> {
        let sagas = self.sagas(filter.saga.as_ref());
        Box::pin(async move {
            let read = |at: usize, page| {
                self.inner.quarantine(QuarantineFilter { saga: Some(sagas[at].clone()), ..filter.clone() }, page)
            };
            merged(sagas.len(), page, |row: &QuarantineRow| row.id, read).await
        })
    }

    fn quarantined(&self, id: i64) -> Answer<'_, Option<QuarantineRow>> {
        Box::pin(async move {
            let row = self.inner.quarantined(id).await?;
            Ok(row.filter(|row| row.saga.as_ref().is_some_and(|saga| self.scope.takes(saga))))
        })
    }

    fn quarantine_reasons(&self) -> Answer<'_, Vec<(String, u64)>> {
        Box::pin(async move {
            let mut counts: BTreeMap<String, u64> = BTreeMap::new();
            let mut page = Page { limit: PASSED_AT_ONCE, cursor: None };
            for _ in 0..PASSES_MAX {
                let listed = self.quarantine(QuarantineFilter::default(), page).await?;
                for row in listed.items {
                    *counts.entry(row.reason).or_default() += 1;
                }
                if listed.next_cursor.is_none() {
                    break;
                }
                page = Page { limit: PASSED_AT_ONCE, cursor: listed.next_cursor };
            }
            Ok(counts.into_iter().collect())
        })
    }

    fn doubts(&self, limit: usize) -> Answer<'_, Vec<Doubt>> {
        Box::pin(async move {
            let mut doubts = self.inner.doubts(limit).await?;
            // One of no saga concerns each of them.
            doubts.retain(|doubt| doubt.saga.as_ref().is_none_or(|saga| self.scope.takes(saga)));
            Ok(doubts)
        })
    }

    fn bindings(&self, _tap: String) -> Answer<'_, Vec<BindingRow>> {
        // The tap is shared by all sagas, and only the loops ask for these.
        nothing(Vec::new())
    }

    fn stats(&self, saga: String, window: Option<Span>) -> Answer<'_, Vec<StepStats>> {
        if self.scope.takes(&saga) { self.inner.stats(saga, window) } else { nothing(Vec::new()) }
    }

    fn bulk(&self, id: Uuid) -> Answer<'_, Option<Bulk>> {
        Box::pin(async move {
            let bulk = self.inner.bulk(id).await?;
            Ok(bulk.filter(|bulk| self.scope.covers(&bulk.ask.filter)))
        })
    }

    fn bulks(&self, state: Option<BulkState>, page: Page) -> Answer<'_, Listed<Bulk>> {
        Box::pin(async move {
            // A page may hold fewer rows than it was asked for; the next one goes on where it ended.
            let mut listed = self.inner.bulks(state, page).await?;
            listed.items.retain(|bulk| self.scope.covers(&bulk.ask.filter));
            Ok(listed)
        })
    }

    fn bulk_orders(&self, id: Uuid, outcome: Option<String>, page: Page) -> Answer<'_, Listed<BulkOrder>> {
        Box::pin(async move {
            match self.bulk(id).await? {
                Some(_) => self.inner.bulk_orders(id, outcome, page).await,
                None => Ok(no_rows()),
            }
        })
    }

    fn outbox_backlog(&self) -> Answer<'_, Backlog> {
        // One number for the whole Escrow; it names nothing.
        self.inner.outbox_backlog()
    }

    fn events_met(&self, saga: String) -> Answer<'_, Vec<EventMet>> {
        if self.scope.takes(&saga) { self.inner.events_met(saga) } else { nothing(Vec::new()) }
    }
}
