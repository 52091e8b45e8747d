//! The API from outside: paths, filters, events, actions, over a real router and a real database without rows.
//!
//! Holds: no request makes the server fail (5xx) or answer with anything but JSON or text; an order id of any bytes that are one
//! is the same behind its address; every event that is taken can be read, and kept.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock};

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, Request, Uri};
use escrow::bus::{Delivery, Envelope};
use escrow::doctor::Checkup;
use escrow::http::router;
use escrow::http::state::{ActError, ApiState, Ask, Desk, ResolveError, StatusReport, SubmitError};
use escrow::saga::brake::Brake;
use escrow::saga::catalog::Catalog;
use escrow::saga::definition::Mode;
use escrow::saga::incident::decide::Standing;
use escrow::saga::migration::{Migration, MigrationAnswer};
use escrow::saga::parse::parse;
use escrow::saga::queue::QueueFinding;
use escrow::saga::time::Moment;
use escrow::store::{self, Bulk, BulkAsk, Listed, OrderFilter, Page, Query, StoreError};
use escrow::telemetry::Metrics;
use escrow::wire::{Message, read};
use futures_util::future::BoxFuture;
use http_body_util::BodyExt as _;
use percent_encoding::{NON_ALPHANUMERIC, percent_encode};
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;
use uuid::Uuid;

const SAGA: &str = "saga: order
version: 1
watch: [{ exchange: shop, read: { event: /type, order_id: /order } }, { http: { read: { preset: cloudevents, order_id: ['envelope:/subject', /order] } } }]
attributes: { customer: /customer }
steps: { placed: { done: Placed }, paid: { after: placed, done: Paid, within: 30s } }
";

/// What is asked; the first byte says which.
const LISTS: [&str; 8] = [
    "/v1/orders",
    "/v1/journal",
    "/v1/quarantine",
    "/v1/incidents",
    "/v1/sagas/order/stats",
    "/v1/sagas/order/orders/1/audit",
    "/v1/sagas",
    "/v1/status",
];
const MEDIA_TYPES: [&str; 4] =
    ["application/cloudevents+json", "application/cloudevents-batch+json", "application/json", "text/plain"];

pub fn run(data: &[u8]) {
    let mut rest = data;
    match super::byte(&mut rest) {
        kind @ 0..=127 => list(LISTS[usize::from(kind) % LISTS.len()], rest),
        128..=159 => order_id(rest),
        160..=175 => path(rest),
        176..=207 => action(rest),
        kind @ 208..=255 => events(kind, rest),
    }
}

fn list(path: &str, query: &[u8]) {
    if let Ok(uri) = Uri::try_from([path.as_bytes(), b"?", query].concat()) {
        ask(Request::get(uri).body(Body::empty()).unwrap());
    }
}

/// Every text of 1 to 256 bytes without a zero byte is an order id, and has an address.
fn order_id(id: &[u8]) {
    let encoded = percent_encode(id, NON_ALPHANUMERIC).to_string();
    let uri = format!("/v1/sagas/order/orders/{encoded}");
    let status = ask(Request::get(&uri).body(Body::empty()).unwrap());
    let Some(id) = std::str::from_utf8(id).ok().filter(|id| !id.is_empty() && id.len() <= 256 && !id.contains('\0'))
    else {
        return;
    };
    assert_eq!(status, 404, "there are no orders");
    let note = Body::from(r#"{"action":"note","reason":"seen"}"#);
    let request = Request::post(format!("{uri}/actions")).header("content-type", "application/json").body(note);
    bed().desk.asks.lock().unwrap().clear();
    assert_eq!(ask(request.unwrap()), 202, "{id:?}");
    assert_eq!(bed().desk.asks.lock().unwrap()[0].key.order_id, id);
}

fn path(path: &[u8]) {
    if let Ok(uri) = Uri::try_from([b"/v1/", path].concat()) {
        ask(Request::get(uri).body(Body::empty()).unwrap());
    }
}

fn action(body: &[u8]) {
    for path in [
        "/v1/sagas/order/orders/1/actions",
        "/v1/quarantine/1/replay",
        "/v1/quarantine/1/drop",
        "/v1/actions",
        "/v1/sagas/order/migrate",
        "/v1/sagas/order/brake/reset",
    ] {
        let request = Request::post(path).header("content-type", "application/json").body(Body::from(body.to_vec()));
        ask(request.unwrap());
    }
    for path in ["/v1/sagas/order/mode", "/v1/sagas/order/version"] {
        let request = Request::put(path).header("content-type", "application/json").body(Body::from(body.to_vec()));
        ask(request.unwrap());
    }
}

/// Three fields for the value of a header, each after its name; the rest is the body.
fn events(kind: u8, mut rest: &[u8]) {
    let mut request = Request::post("/v1/events").header("content-type", MEDIA_TYPES[usize::from(kind & 3)]);
    if kind & 4 != 0 {
        for name in ["ce-specversion", "ce-type", "ce-id", "ce-source", "ce-subject", "ce-time"] {
            let value = super::field(&mut rest);
            if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::from_bytes(value)) {
                request = request.header(name, value);
            }
        }
    }
    bed().desk.submitted.lock().unwrap().clear();
    let status = ask(request.body(Body::from(rest.to_vec())).unwrap());
    let taken = std::mem::take(&mut *bed().desk.submitted.lock().unwrap());
    assert_eq!(status == 202 && !taken.is_empty(), !taken.is_empty(), "taken or refused");
    for delivery in taken {
        assert!(delivery.is_http());
        let kept = serde_json::to_string(&delivery.envelope).unwrap();
        assert_eq!(serde_json::from_str::<Envelope>(&kept).unwrap(), delivery.envelope);
        for saga in bed().desk.catalog.newest_all() {
            read(saga, &Message::new(&delivery, [1; 16], 4_096, None));
        }
    }
}

fn ask(request: Request<Body>) -> u16 {
    let bed = bed();
    bed.runtime.block_on(async {
        let shown = format!("{} {}", request.method(), request.uri());
        let answer = bed.router.clone().oneshot(request).await.expect("a router never fails");
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        let body = answer.into_body().collect().await.expect("the answer ends").to_bytes();
        assert!(status < 500, "{shown}: {status} {}", String::from_utf8_lossy(&body));
        let kind = headers.get("content-type").and_then(|it| it.to_str().ok()).unwrap_or_default();
        if kind.contains("json") {
            serde_json::from_slice::<serde_json::Value>(&body).expect("JSON");
        }
        for value in headers.values() {
            assert!(value.as_bytes().iter().all(|byte| (32..127).contains(byte)), "{shown}: {value:?}");
        }
        status
    })
}

struct Bed {
    runtime: Runtime,
    router: Router,
    desk: Arc<FakeDesk>,
    _folder: tempfile::TempDir,
}

fn bed() -> &'static Bed {
    static BED: OnceLock<Bed> = OnceLock::new();
    BED.get_or_init(|| {
        let runtime = Runtime::new().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", folder.path().join("escrow.db").display());
        let store = runtime.block_on(store::connect(&url)).unwrap();
        let saga = parse("saga.yaml", SAGA).expect("it can be run").saga;
        let catalog = Arc::new(Catalog::from_iter([Arc::new(saga)]));
        let desk = Arc::new(FakeDesk { catalog, asks: Mutex::default(), submitted: Mutex::default() });
        let asked: Arc<dyn Desk> = Arc::clone(&desk) as _;
        let state = ApiState::new(store as Arc<dyn Query>, asked, Arc::new(Metrics::new()), CancellationToken::new());
        Bed { runtime, router: router(state), desk, _folder: folder }
    })
}

/// Takes everything, and keeps what it was asked.
struct FakeDesk {
    catalog: Arc<Catalog>,
    asks: Mutex<Vec<Ask>>,
    submitted: Mutex<Vec<Delivery>>,
}

fn done<'a, T: Send + 'a>(answer: T) -> BoxFuture<'a, T> {
    Box::pin(std::future::ready(answer))
}

impl Desk for FakeDesk {
    fn catalog(&self) -> Arc<Catalog> {
        Arc::clone(&self.catalog)
    }

    fn act(&self, ask: Ask) -> BoxFuture<'_, Result<u64, ActError>> {
        self.asks.lock().unwrap().push(ask);
        done(Ok(1))
    }

    fn apply_version(&self, _: String, _: u32, _: String, _: String) -> BoxFuture<'_, Result<(), ActError>> {
        done(Ok(()))
    }

    fn migrate(
        &self,
        _: String,
        _: Migration,
        _: OrderFilter,
        _: Page,
    ) -> BoxFuture<'_, Result<Listed<MigrationAnswer>, ActError>> {
        done(Ok(Listed { items: Vec::new(), next_cursor: None }))
    }

    fn begin_bulk(&self, _: Uuid, _: BulkAsk) -> BoxFuture<'_, Result<Option<Bulk>, StoreError>> {
        done(Ok(None))
    }

    fn stop_bulk(&self, _: Uuid, _: String, _: String) -> BoxFuture<'_, Result<Option<Bulk>, StoreError>> {
        done(Ok(None))
    }

    fn reset_brake(&self, _: String, _: String, _: String) -> BoxFuture<'_, Result<Brake, StoreError>> {
        done(Ok(Brake::default()))
    }

    fn ack_incident(&self, _: String, _: String, _: String) -> BoxFuture<'_, Result<Option<Standing>, StoreError>> {
        done(Ok(None))
    }

    fn set_mode(&self, _: String, _: Mode, _: String, _: String) -> BoxFuture<'_, Result<(), StoreError>> {
        done(Ok(()))
    }

    fn submit(&self, deliveries: Vec<Delivery>) -> BoxFuture<'_, Result<(), SubmitError>> {
        self.submitted.lock().unwrap().extend(deliveries);
        done(Ok(()))
    }

    fn replay(&self, _: i64, _: Option<String>, _: String, _: String) -> BoxFuture<'_, Result<(), ResolveError>> {
        done(Ok(()))
    }

    fn drop_quarantined(&self, _: i64, _: String, _: String) -> BoxFuture<'_, Result<(), ResolveError>> {
        done(Ok(()))
    }

    fn queue_finding(&self, _: &str) -> Option<QueueFinding> {
        None
    }

    fn watermark(&self, _: &str) -> Option<Moment> {
        None
    }

    fn doctor(&self) -> BoxFuture<'_, Result<Checkup, StoreError>> {
        done(Ok(Checkup { at: Moment(0), findings: Vec::new() }))
    }

    fn status(&self) -> StatusReport {
        StatusReport { sagas: BTreeMap::new(), ..StatusReport::default() }
    }

    fn nudges(&self) -> watch::Receiver<u64> {
        watch::channel(0).1
    }
}
