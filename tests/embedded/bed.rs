//! One database, one bus, and the Escrows on them.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use escrow::app::{self, Bus, Doorway, Parts, Running};
use escrow::bus::memory::{Kind, MemoryBus, Subscription};
use escrow::bus::{Envelope, Sink, Tap};
use escrow::clock::Manual;
use escrow::config::DoctorConfig;
use escrow::saga::incident::{Incident, Routes};
use escrow::saga::input::{Action, Ask};
use escrow::saga::order::{Order, OrderKey, StuckReason};
use escrow::saga::time::{Moment, Span};
use escrow::store::{Page, QuarantineFilter, QuarantineRow, Store, sqlite};
use escrow::telemetry::Traces;
use escrow::worker::commands::{CommandError, Commands};
use escrow::worker::definitions;
use escrow::worker::watermark::{HTTP, HTTP_PAUSE_MAX, Known, Watermarks};
use serde_json::{Value, json};

use super::faulty::{Faults, Faulty};

/// How long anything may take that should happen; machines are shared and slow.
const PATIENCE: Duration = Duration::from_mins(1);

pub const TAP: &str = "escrow.tap.test";

pub const START: Moment = Moment(1_767_225_600_000_000);

/// A choreography over one exchange: paid within 30 s, or refunded.
pub const ORDER: &str = r#"
saga: order
version: 1
watch: [{ exchange: shop }]
read: { event: /type, order_id: /order }
steps:
  placed: { done: Placed }
  paid:
    after: placed
    done: Paid
    within: 30s
    on_timeout: compensate
    compensation:
      publish: { event: Refund, exchange: shop, routing_key: "", body: { type: Refund, order: "{{ order_id }}" } }
"#;

/// Tells everything to these channels.
struct To(Vec<String>);

impl Routes for To {
    fn channels(&self, _incident: &Incident) -> Vec<String> {
        self.0.clone()
    }
}

pub struct Bed {
    pub bus: MemoryBus,
    pub clock: Arc<Manual>,
    pub store: Arc<dyn Store>,
    /// The store without faults: what the test looks at.
    pub truth: Arc<dyn Store>,
    pub faults: Arc<Faults>,
    pub url: String,
    /// Who is told of incidents, by Escrows started from now on.
    pub channels: Mutex<Vec<String>>,
    _folder: tempfile::TempDir,
}

impl Bed {
    /// A database and a bus with these exchanges.
    pub async fn new(exchanges: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", folder.path().join("escrow.db").display());
        let clock = Arc::new(Manual::at(START));
        let truth: Arc<dyn Store> = Arc::new(sqlite::connect_with_clock(&url, Arc::clone(&clock) as _).await.unwrap());
        let faults = Arc::new(Faults::default());
        let store = Arc::new(Faulty { inner: Arc::clone(&truth), faults: Arc::clone(&faults) });
        let bus = MemoryBus::default();
        for exchange in exchanges {
            bus.declare_exchange(exchange, Kind::Fanout);
        }
        let channels = Mutex::default();
        Self { bus, clock, store, truth, faults, url, channels, _folder: folder }
    }

    /// Stores a definition as a file would be.
    pub async fn propose(&self, definition: &str) {
        let files = vec![("saga.yaml".to_owned(), definition.to_owned())];
        let sagas = match definitions::parse_all(files) {
            Ok(sagas) => sagas,
            Err(error) => panic!("{error:?}"),
        };
        definitions::propose(self.truth.as_ref(), sagas).await.unwrap();
    }

    /// Escrow on the bus, following what is stored, once it is bound to all there is.
    pub async fn run(&self, definition: &str) -> Running {
        self.propose(definition).await;
        let running = self.start(true).await;
        self.until("the tap is watched and a canary came back", async || {
            let row = self.truth.tap(TAP.to_owned()).await.unwrap();
            let looked = !self.truth.bindings(TAP.to_owned()).await.unwrap().is_empty();
            (row.watermark.is_some() && looked).then_some(())
        })
        .await;
        running
    }

    /// Escrow, with or without the bus. Replicas share one tap.
    pub async fn start(&self, with_bus: bool) -> Running {
        self.start_traced(with_bus, None).await
    }

    /// The same, with its traces sent somewhere.
    pub async fn start_traced(&self, with_bus: bool, traces: Option<Traces>) -> Running {
        self.start_as(with_bus, traces, Doorway::default()).await
    }

    /// Escrow without the bus, for those who may come in.
    pub async fn start_behind(&self, doorway: Doorway) -> Running {
        self.start_as(false, None, doorway).await
    }

    async fn start_as(&self, with_bus: bool, traces: Option<Traces>, doorway: Doorway) -> Running {
        let catalog = definitions::load(self.truth.as_ref()).await.unwrap();
        let bus = with_bus.then(|| Bus {
            tap: self.bus.tap("test") as Arc<dyn Tap>,
            sink: Arc::new(self.bus.clone()) as Arc<dyn Sink>,
        });
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let store = Arc::clone(&self.store);
        let routes = Arc::new(To(self.channels.lock().unwrap().clone()));
        let name = "test".to_owned();
        let doctor = DoctorConfig {
            database_url: self.url.clone(),
            amqp_url: None,
            management_url: None,
            sagas: None,
            name: name.clone(),
        };
        let parts = Parts {
            store,
            catalog,
            bus,
            listener,
            doorway,
            name,
            body_keep_bytes: 1 << 20,
            traces,
            routes,
            alerts: None,
            doctor,
        };
        app::start(parts).await.unwrap()
    }

    /// Publishes on the exchange `shop`, with an id or without.
    pub fn say(&self, id: Option<&str>, body: &Value) {
        self.say_on("shop", id, body);
    }

    pub fn say_on(&self, exchange: &str, id: Option<&str>, body: &Value) {
        let mut envelope = Envelope::default();
        if let Some(id) = id {
            envelope.properties.insert("message_id".to_owned(), Value::from(id));
        }
        self.bus.send(exchange, "", envelope, body.to_string().into_bytes());
    }

    /// An event of an order, under an id of its own.
    pub fn event(&self, name: &str, order: &str) {
        self.say(Some(&format!("{name}-{order}")), &json!({"type": name, "order": order}));
    }

    /// Lets time pass, and says so: events over HTTP are accepted all the while, and deadlines are looked at.
    pub async fn pass(&self, running: &Running, span: Span) {
        let end = self.clock_now() + span;
        while self.clock_now() < end {
            self.clock.advance(Span::from_secs(4).min(end.since(self.clock_now())));
            self.truth.accepting(HTTP.to_owned(), HTTP_PAUSE_MAX).await.unwrap();
        }
        running.escrow.nudges.armed.notify_one();
    }

    pub fn clock_now(&self) -> Moment {
        use escrow::clock::Clock as _;
        self.clock.now()
    }

    /// Waits until everything published by now is applied.
    pub async fn drained(&self, running: &Running) {
        self.clock.advance(Span::from_secs(6));
        let now = self.clock_now();
        self.truth.accepting(HTTP.to_owned(), Span(HTTP_PAUSE_MAX.0 * 2)).await.unwrap();
        running.escrow.nudges.armed.notify_one();
        self.until("the watermark is here", async || {
            let row = self.truth.tap(TAP.to_owned()).await.unwrap();
            (row.watermark >= Some(now)).then_some(())
        })
        .await;
    }

    pub async fn watermarks(&self, running: &Running, watermarks: &Watermarks) -> Arc<Known> {
        watermarks.load_over_http(&running.escrow).await.unwrap();
        watermarks.read(&running.escrow).await.unwrap()
    }

    pub async fn order(&self, saga: &str, order_id: &str) -> Option<Order> {
        self.truth.find_order(key(saga, order_id)).await.unwrap()
    }

    /// How an order of the saga `order` stands: `running: done, waiting` or `stuck (unproven): …`.
    pub async fn shown(&self, order_id: &str) -> String {
        let Some(order) = self.order("order", order_id).await else { return "absent".to_owned() };
        let steps: Vec<_> = order.steps.iter().map(|step| step.status.word()).collect();
        let needs: Vec<_> = order.life.needs.iter().map(|need| StuckReason::word(need.reason)).collect();
        let needs = if needs.is_empty() { String::new() } else { format!(" ({})", needs.join(", ")) };
        format!("{}{needs}: {}", order.life.status.word(), steps.join(", "))
    }

    /// Waits until an order of the saga `order` stands so.
    pub async fn shows(&self, order_id: &str, expected: &str) {
        let mut last = String::new();
        let deadline = Instant::now() + PATIENCE;
        while last != expected {
            assert!(Instant::now() < deadline, "order {order_id} is to be `{expected}`, and is `{last}`");
            tokio::time::sleep(Duration::from_millis(10)).await;
            last = self.shown(order_id).await;
        }
    }

    /// The kinds of an order's entries, oldest first.
    pub async fn kinds(&self, order_id: &str) -> Vec<&'static str> {
        let entries = self.truth.audit(key("order", order_id), 0, 500).await.unwrap();
        entries.iter().map(|entry| entry.kind.word()).collect()
    }

    pub async fn quarantine(&self) -> Vec<QuarantineRow> {
        let page = Page { limit: 100, cursor: None };
        self.truth.quarantine(QuarantineFilter::default(), page).await.unwrap().items
    }

    /// Waits until so many messages are in quarantine.
    pub async fn quarantined(&self, count: usize) -> Vec<QuarantineRow> {
        self.until("messages are in quarantine", async || {
            let rows = self.quarantine().await;
            (rows.len() == count).then_some(rows)
        })
        .await
    }

    pub async fn until<T>(&self, what: &str, poll: impl AsyncFn() -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(found) = poll().await {
                return found;
            }
            assert!(Instant::now() < deadline, "it never came about that {what}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// A service's queue, bound to an exchange.
    pub fn listen(&self, queue: &str, exchange: &str) -> Subscription {
        self.bus.declare_queue(queue);
        assert!(self.bus.bind(queue, exchange, "#"));
        self.bus.subscribe(queue).unwrap()
    }

    pub fn set_away(&self, away: bool) {
        self.faults.away.store(away, Ordering::SeqCst);
    }
}

pub fn commands(running: &Running) -> Commands {
    Commands::new(Arc::clone(&running.escrow), 1 << 20)
}

pub async fn act(running: &Running, order_id: &str, action: Action) -> Result<u64, CommandError> {
    let ask = Ask {
        key: key("order", order_id),
        action,
        step: None,
        actor: "ann".to_owned(),
        reason: "she asked".to_owned(),
        idempotency_key: None,
    };
    commands(running).act(ask).await
}

pub fn key(saga: &str, order_id: &str) -> OrderKey {
    OrderKey { saga: saga.to_owned(), order_id: order_id.to_owned() }
}

/// The bodies of what a service has got so far.
pub async fn heard(listener: &mut Subscription) -> Vec<Value> {
    let mut heard = Vec::new();
    while let Ok(Some(received)) = tokio::time::timeout(Duration::from_millis(50), listener.next()).await {
        heard.push(serde_json::from_slice(&received.delivery.body).unwrap());
        received.ack();
    }
    heard
}
