//! A fake store and a fake desk made of plain values, and the API over them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode};
use futures_util::future::BoxFuture;
use http_body_util::BodyExt as _;
use serde_json::Value;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;
use uuid::Uuid;

pub use super::desk::FakeDesk;
pub use super::fixtures::*;
use crate::http::access::Access;
use crate::http::router;
use crate::http::state::{ApiState, ResolveError};
use crate::saga::brake::SagaState;
use crate::saga::definition::Mode;
use crate::saga::incident::IncidentStatus;
use crate::saga::incident::decide::Standing;
use crate::saga::journal::Broken;
use crate::saga::order::{Doubt, Order, OrderKey, Status};
use crate::saga::time::Moment;
use crate::store::{
    Backlog, BindingRow, Bulk, BulkAsk, BulkOrder, BulkState, DefinitionRow, EventMet, IncidentFilter, JournalFilter,
    JournalRow, Listed, NoticeRow, OpenCounts, OrderFilter, Page, QuarantineFilter, QuarantineGrowth, QuarantineRow,
    Query, StatusCount, StepStats, StoreError, StoredPayload, StuckGroup,
};
use crate::telemetry::Metrics;

/// A store of plain values.
#[derive(Default)]
pub struct FakeStore {
    pub orders: Mutex<Vec<Order>>,
    pub journal: Mutex<Vec<JournalRow>>,
    pub quarantine: Vec<QuarantineRow>,
    pub incidents: Vec<Standing>,
    pub notices: Vec<NoticeRow>,
    pub groups: Vec<StuckGroup>,
    pub reasons: Vec<(String, u64)>,
    pub stats: Vec<StepStats>,
    pub doubts: Vec<Doubt>,
    pub modes: BTreeMap<String, Mode>,
    pub states: BTreeMap<String, SagaState>,
    pub bulks: Vec<Bulk>,
    pub bulk_orders: Vec<BulkOrder>,
    pub met: Vec<EventMet>,
    pub payloads: BTreeMap<(OrderKey, u64), StoredPayload>,
    /// The database is away.
    pub is_away: bool,
    pub asked: Mutex<Vec<OrderFilter>>,
    /// Trails that do not hold; the others have two entries.
    pub broken: Mutex<BTreeMap<OrderKey, Broken>>,
}

impl FakeStore {
    fn answer<'a, T: Send + 'a>(&'a self, give: impl FnOnce() -> T) -> BoxFuture<'a, Result<T, StoreError>> {
        let answer = if self.is_away { Err(StoreError::Unavailable(sqlx::Error::PoolTimedOut)) } else { Ok(give()) };
        Box::pin(async move { answer })
    }

    fn page<'a, T: Send + 'a>(&'a self, all: Vec<T>, page: &Page) -> BoxFuture<'a, Result<Listed<T>, StoreError>> {
        let from: Result<usize, _> = page.cursor.as_deref().unwrap_or("0").parse();
        let Ok(from) = from else {
            return Box::pin(async { Err(StoreError::BadCursor) });
        };
        let to = from + page.limit;
        let next_cursor = (to < all.len()).then(|| to.to_string());
        self.answer(|| Listed { items: all.into_iter().skip(from).take(page.limit).collect(), next_cursor })
    }
}

impl Query for FakeStore {
    fn now(&self) -> BoxFuture<'_, Result<Moment, StoreError>> {
        self.answer(|| NOW)
    }

    fn find_order(&self, key: OrderKey) -> BoxFuture<'_, Result<Option<Order>, StoreError>> {
        self.answer(|| self.orders.lock().unwrap().iter().find(|it| it.key == key).cloned())
    }

    fn list_orders(&self, filter: OrderFilter, page: Page) -> BoxFuture<'_, Result<Listed<Order>, StoreError>> {
        let orders = self.orders.lock().unwrap().clone();
        let found = orders.into_iter().filter(|it| {
            filter.order_id.as_ref().is_none_or(|id| *id == it.key.order_id)
                && (filter.statuses.is_empty() || filter.statuses.contains(&it.life.status))
        });
        let found = found.collect();
        self.asked.lock().unwrap().push(filter);
        self.page(found, &page)
    }

    fn due_orders(
        &self,
        watermarks: BTreeMap<String, Moment>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<OrderKey>, StoreError>> {
        let orders = self.orders.lock().unwrap().clone();
        let mut due: Vec<_> = orders
            .into_iter()
            .filter_map(|it| Some((it.next_due()?, it.key)))
            .filter(|(at, key)| watermarks.get(&key.saga).is_some_and(|until| at <= until))
            .collect();
        due.sort_by_key(|(at, _)| *at);
        self.answer(|| due.into_iter().map(|(_, key)| key).take(limit).collect())
    }

    fn count_orders(&self, _filter: OrderFilter) -> BoxFuture<'_, Result<u64, StoreError>> {
        self.answer(|| self.orders.lock().unwrap().len() as u64)
    }

    fn count_by_status(&self) -> BoxFuture<'_, Result<Vec<StatusCount>, StoreError>> {
        self.answer(|| vec![StatusCount { saga: "order".to_owned(), status: Status::Running, count: 3 }])
    }

    fn count_open(&self) -> BoxFuture<'_, Result<OpenCounts, StoreError>> {
        self.answer(OpenCounts::default)
    }

    fn stuck_groups(&self) -> BoxFuture<'_, Result<Vec<StuckGroup>, StoreError>> {
        self.answer(|| self.groups.clone())
    }

    fn open_incidents(&self) -> BoxFuture<'_, Result<Vec<Standing>, StoreError>> {
        let open = self.incidents.iter().filter(|it| it.incident.status == IncidentStatus::Open);
        self.answer(|| open.cloned().collect())
    }

    fn incidents(&self, filter: IncidentFilter, page: Page) -> BoxFuture<'_, Result<Listed<Standing>, StoreError>> {
        let found = self.incidents.iter().filter(|it| {
            filter.status.is_none_or(|status| status == it.incident.status)
                && filter.saga.as_ref().is_none_or(|saga| *saga == it.incident.about.saga)
                && filter.cause.as_ref().is_none_or(|cause| *cause == it.incident.about.cause)
        });
        self.page(found.cloned().collect(), &page)
    }

    fn incident_notices(
        &self,
        _id: String,
        _episode: u64,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<NoticeRow>, StoreError>> {
        self.answer(|| self.notices.iter().take(limit).cloned().collect())
    }

    fn incident_episodes(&self, id: String, limit: usize) -> BoxFuture<'_, Result<Vec<Standing>, StoreError>> {
        let found = self.incidents.iter().filter(move |it| it.incident.about.id() == id);
        self.answer(|| found.take(limit).cloned().collect())
    }

    fn last_episodes(&self, _ids: Vec<String>) -> BoxFuture<'_, Result<BTreeMap<String, u64>, StoreError>> {
        self.answer(BTreeMap::new)
    }

    fn quarantine_growth(&self, _since: Moment) -> BoxFuture<'_, Result<Vec<QuarantineGrowth>, StoreError>> {
        self.answer(Vec::new)
    }

    fn audit(&self, key: OrderKey, after: u64, limit: usize) -> BoxFuture<'_, Result<Vec<JournalRow>, StoreError>> {
        let rows = self.journal.lock().unwrap().clone();
        self.answer(|| rows.into_iter().filter(|it| it.key == key && it.sequence > after).take(limit).collect())
    }

    fn journal(&self, filter: JournalFilter, page: Page) -> BoxFuture<'_, Result<Listed<JournalRow>, StoreError>> {
        let rows = self.journal.lock().unwrap().clone();
        let rows = rows.into_iter().rev().filter(|it| filter.kinds.is_empty() || filter.kinds.contains(&it.kind));
        self.page(rows.collect(), &page)
    }

    fn journal_since(&self, after: i64, limit: usize) -> BoxFuture<'_, Result<Vec<JournalRow>, StoreError>> {
        let rows = self.journal.lock().unwrap().clone();
        self.answer(|| rows.into_iter().filter(|it| it.position > after).take(limit).collect())
    }

    fn payload(&self, key: OrderKey, sequence: u64) -> BoxFuture<'_, Result<Option<StoredPayload>, StoreError>> {
        self.answer(|| self.payloads.get(&(key, sequence)).cloned())
    }

    fn verify(&self, key: OrderKey) -> BoxFuture<'_, Result<Result<u64, Broken>, StoreError>> {
        self.answer(|| self.broken.lock().unwrap().get(&key).map_or(Ok(2), |broken| Err(broken.clone())))
    }

    fn keys_after(&self, after: Option<OrderKey>, limit: usize) -> BoxFuture<'_, Result<Vec<OrderKey>, StoreError>> {
        let mut keys: Vec<OrderKey> = self.orders.lock().unwrap().iter().map(|it| it.key.clone()).collect();
        // By id and then saga, as the stores do.
        let place = |key: &OrderKey| (key.order_id.clone(), key.saga.clone());
        keys.sort_by_key(place);
        let after = after.as_ref().map(place);
        self.answer(|| keys.into_iter().filter(|key| Some(place(key)) > after).take(limit).collect())
    }

    fn definitions(&self) -> BoxFuture<'_, Result<Vec<DefinitionRow>, StoreError>> {
        self.answer(|| {
            vec![DefinitionRow {
                saga: "order".to_owned(),
                version: 1,
                text: "saga: order\n".to_owned(),
                fingerprint: [7; 32],
                stored_at: ago(1000),
                applied_at: ago(1000),
                open_orders: 3,
            }]
        })
    }

    fn modes(&self) -> BoxFuture<'_, Result<BTreeMap<String, Mode>, StoreError>> {
        self.answer(|| self.modes.clone())
    }

    fn saga_states(&self) -> BoxFuture<'_, Result<BTreeMap<String, SagaState>, StoreError>> {
        self.answer(|| self.states.clone())
    }

    fn quarantine(
        &self,
        filter: QuarantineFilter,
        page: Page,
    ) -> BoxFuture<'_, Result<Listed<QuarantineRow>, StoreError>> {
        let rows = self.quarantine.clone();
        let rows = rows.into_iter().filter(|it| filter.reason.as_ref().is_none_or(|reason| *reason == it.reason));
        self.page(rows.collect(), &page)
    }

    fn quarantined(&self, id: i64) -> BoxFuture<'_, Result<Option<QuarantineRow>, StoreError>> {
        self.answer(|| self.quarantine.iter().find(|it| it.id == id).cloned())
    }

    fn quarantine_reasons(&self) -> BoxFuture<'_, Result<Vec<(String, u64)>, StoreError>> {
        self.answer(|| self.reasons.clone())
    }

    fn doubts(&self, limit: usize) -> BoxFuture<'_, Result<Vec<Doubt>, StoreError>> {
        self.answer(|| self.doubts.iter().take(limit).cloned().collect())
    }

    fn bindings(&self, _tap: String) -> BoxFuture<'_, Result<Vec<BindingRow>, StoreError>> {
        self.answer(Vec::new)
    }

    fn stats(
        &self,
        saga: String,
        _: Option<crate::saga::time::Span>,
    ) -> BoxFuture<'_, Result<Vec<StepStats>, StoreError>> {
        self.answer(|| self.stats.iter().filter(|it| it.saga == saga).cloned().collect())
    }

    fn bulk(&self, id: Uuid) -> BoxFuture<'_, Result<Option<Bulk>, StoreError>> {
        self.answer(|| self.bulks.iter().find(|it| it.id == id).cloned())
    }

    fn bulks(&self, state: Option<BulkState>, page: Page) -> BoxFuture<'_, Result<Listed<Bulk>, StoreError>> {
        let wanted = self.bulks.iter().filter(|it| state.is_none_or(|state| it.state == state));
        self.page(wanted.cloned().collect(), &page)
    }

    fn bulk_orders(
        &self,
        _id: Uuid,
        outcome: Option<String>,
        page: Page,
    ) -> BoxFuture<'_, Result<Listed<BulkOrder>, StoreError>> {
        let is_wanted = |it: &&BulkOrder| {
            outcome.as_deref().is_none_or(|word| it.outcome.as_ref().is_some_and(|outcome| outcome.word() == word))
        };
        self.page(self.bulk_orders.iter().filter(is_wanted).cloned().collect(), &page)
    }

    fn outbox_backlog(&self) -> BoxFuture<'_, Result<Backlog, StoreError>> {
        self.answer(|| Backlog { rows: 2, oldest_at: Some(ago(3)) })
    }

    fn events_met(&self, _saga: String) -> BoxFuture<'_, Result<Vec<EventMet>, StoreError>> {
        self.answer(|| self.met.clone())
    }
}

/// An action that has just begun on three orders.
pub fn bulk(id: Uuid, ask: BulkAsk) -> Bulk {
    Bulk {
        id,
        ask,
        state: BulkState::Running,
        total: 3,
        done: 1,
        refused: 1,
        gone: 0,
        created_at: ago(9),
        ended_at: None,
        stopped_by: None,
        stopped_reason: None,
    }
}

pub fn resolved(id: i64) -> Result<(), ResolveError> {
    match id {
        1 => Ok(()),
        2 => Err(ResolveError::Misfit("it was dropped already".to_owned())),
        _ => Err(ResolveError::NotFound),
    }
}

/// The API over fakes.
pub struct Api {
    pub store: Arc<FakeStore>,
    pub desk: Arc<FakeDesk>,
    pub shutdown: CancellationToken,
    pub router: Router,
}

/// What came back.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub text: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    /// The detail of a problem with this status.
    pub fn problem(&self, status: u16) -> String {
        assert_eq!(self.status.as_u16(), status, "{}", self.text);
        assert_eq!(self.headers["content-type"], "application/problem+json");
        let body = self.json();
        assert_eq!(body["status"], status);
        body["detail"].as_str().unwrap().to_owned()
    }
}

impl Api {
    pub fn new(store: FakeStore, desk: FakeDesk) -> Self {
        Self::guarded(store, desk, Arc::default())
    }

    /// The same, for those alone who may come in.
    pub fn guarded(store: FakeStore, desk: FakeDesk, access: Arc<Access>) -> Self {
        let (store, desk, shutdown) = (Arc::new(store), Arc::new(desk), CancellationToken::new());
        let state = ApiState::new(store.clone(), desk.clone(), Arc::new(Metrics::new()), shutdown.clone());
        Self { store, desk, shutdown, router: router(state.guarded_by(access)) }
    }

    pub fn of(orders: Vec<Order>) -> Self {
        Self::new(FakeStore { orders: Mutex::new(orders), ..FakeStore::default() }, FakeDesk::default())
    }

    pub async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        Answer { status: parts.status, headers: parts.headers, text: String::from_utf8(bytes.to_vec()).unwrap() }
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send(Request::get(path).body(Body::empty()).unwrap()).await
    }

    pub async fn json(&self, method: &str, path: &str, body: &Value) -> Answer {
        let request = Request::builder().method(method).uri(path).header("content-type", "application/json");
        self.send(request.body(Body::from(body.to_string())).unwrap()).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        self.json("POST", path, body).await
    }
}
