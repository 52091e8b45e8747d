//! Orders on their way while something breaks.
//!
//! ```text
//!   start ─▶ open: some answered, some never answered, some waiting ─▶ (the fault) ─▶ answer the waiting ones, outlast their
//!   deadlines ─▶ (the fault ends) ─▶ finish: a few more orders, all come to their end, judgement
//! ```
//!
//! The services are always sure: they publish persistent messages until the broker confirms them. So whatever they say
//! reaches the tap, and the judgement knows when it was in there at the latest.

use std::collections::BTreeMap;
use std::sync::Mutex as Locked;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use lapin::ExchangeKind;
use serde_json::{Value, json};
use tokio::sync::Mutex;

use super::escrow::Escrow;
use super::services::Service;
use super::traffic::{Sure, Undoing};

/// How long a waiting order waits: long enough to set a fault up and answer in it.
const PATIENCE: Duration = Duration::from_secs(8);

const EXCHANGES: [&str; 3] = ["order_exchange", "payment_exchange", "inventory_exchange"];
/// What the services are asked to undo arrives here.
const UNDOING: &str = "undoing";
/// What Escrow tells arrives here.
pub const TOLD: &str = "told";

/// Three services; how long an order may wait for its inventory, its first event says.
const DEFINITION: &str = r#"
saga: order
version: 1
watch: [{ exchange: order_exchange }, { exchange: payment_exchange }, { exchange: inventory_exchange }]
read: { event: /event_type, order_id: /data/order_id }
brake: none
steps:
  placed: { done: OrderPlaced }
  payment:
    after: placed
    done: PaymentProcessed
    compensation:
      publish:
        event: RefundPayment
        exchange: payment_exchange
        body: { event_type: RefundPayment, data: { order_id: "{{ order_id }}" } }
      done: PaymentRefunded
      within: 10m
  inventory:
    after: placed
    done: InventoryReserved
    within: "{{ duration(steps.placed.event.data.patience) }}"
    on_timeout: compensate
    compensation:
      publish:
        event: ReleaseInventory
        exchange: inventory_exchange
        body: { event_type: ReleaseInventory, data: { order_id: "{{ order_id }}" } }
      done: InventoryReleased
      within: 10m
"#;

/// How an order is meant to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fate {
    /// Answered at once: completed.
    Answered,
    /// Answered when the test says, before its deadline: completed.
    Waiting,
    /// Never answered: timed out, and undone.
    Silent,
}

/// What a service published: confirmed by the broker.
#[derive(Clone, Debug)]
pub struct Said {
    pub order: String,
    pub confirmed_at: Timestamp,
}

/// The orders of one test, their services, and the Escrows that follow them. The first Escrow is the one that is asked.
pub struct Scene {
    pub escrows: Vec<Escrow>,
    orders: Locked<BTreeMap<String, Fate>>,
    /// By message id.
    pub said: Locked<BTreeMap<String, Said>>,
    /// Deadlines of the waiting orders, as Escrow told them.
    pub deadlines: Locked<BTreeMap<String, Timestamp>>,
    pub undoing: Undoing,
    publisher: Mutex<Sure>,
    next: AtomicUsize,
}

impl Scene {
    /// Services at `services_url`, and an Escrow that is not started yet.
    pub async fn new(database_url: &str, amqp_url: &str, services_url: &str) -> Self {
        let service = Service::connect(services_url).await;
        service.queue(UNDOING).await;
        service.queue(TOLD).await;
        service.exchange("escrow", ExchangeKind::Topic).await;
        service.bind(TOLD, "escrow", "order.#").await;
        for exchange in EXCHANGES {
            service.exchange(exchange, ExchangeKind::Fanout).await;
        }
        for exchange in &EXCHANGES[1..] {
            service.bind(UNDOING, exchange, "").await;
        }
        Self {
            escrows: vec![Escrow::new(DEFINITION, database_url, amqp_url)],
            orders: Locked::default(),
            said: Locked::default(),
            deadlines: Locked::default(),
            undoing: Undoing::start(services_url, UNDOING),
            publisher: Mutex::new(Sure::new(services_url)),
            next: AtomicUsize::new(1),
        }
    }

    /// The same, with everything that stands before the fault: Escrow runs and is bound.
    pub async fn start(database_url: &str, amqp_url: &str, services_url: &str) -> Self {
        let scene = Self::new(database_url, amqp_url, services_url).await;
        scene.escrow().run().await;
        scene.escrow().bound().await;
        scene
    }

    /// One more replica, not started yet.
    pub fn replica(database_url: &str, amqp_url: &str) -> Escrow {
        Escrow::new(DEFINITION, database_url, amqp_url)
    }

    /// Every order, and how it is meant to end.
    pub fn fates(&self) -> BTreeMap<String, Fate> {
        self.orders.lock().unwrap().clone()
    }

    /// The Escrow that is asked.
    pub fn escrow(&self) -> &Escrow {
        &self.escrows[0]
    }

    /// Publishes an event about an order.
    pub async fn say(&self, exchange: &str, event: &str, order: &str, more: &Value) {
        let mut body = json!({"event_type": event, "data": {"order_id": order}});
        if let (Some(data), Some(more)) = (body["data"].as_object_mut(), more.as_object()) {
            data.extend(more.clone());
        }
        let id = format!("{event}-{order}");
        self.publisher.lock().await.publish(exchange, &id, &body).await;
        let said = Said { order: order.to_owned(), confirmed_at: Timestamp::now() };
        self.said.lock().unwrap().insert(id, said);
    }

    /// Places orders; answers their names.
    pub async fn place(&self, fate: Fate, count: usize) -> Vec<String> {
        self.place_with(fate, count, &json!({})).await
    }

    /// Places orders that carry more.
    pub async fn place_with(&self, fate: Fate, count: usize, more: &Value) -> Vec<String> {
        let (name, patience) = match fate {
            Fate::Answered => ("answered", Duration::from_mins(10)),
            Fate::Waiting => ("waiting", PATIENCE),
            Fate::Silent => ("silent", Duration::from_secs(1)),
        };
        let mut placed = Vec::new();
        for _ in 0..count {
            let order = format!("{name}-{}", self.next.fetch_add(1, Ordering::Relaxed));
            self.orders.lock().unwrap().insert(order.clone(), fate);
            let mut data = json!({"patience": format!("{}s", patience.as_secs())});
            data.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            self.say("order_exchange", "OrderPlaced", &order, &data).await;
            self.say("payment_exchange", "PaymentProcessed", &order, &json!({})).await;
            if fate == Fate::Answered {
                self.say("inventory_exchange", "InventoryReserved", &order, &json!({})).await;
            }
            placed.push(order);
        }
        placed
    }

    /// Orders of every fate; Escrow has seen those that wait, and has told their deadlines.
    pub async fn open(&self) {
        self.place(Fate::Answered, 6).await;
        self.place(Fate::Silent, 4).await;
        for order in self.place(Fate::Waiting, 6).await {
            let opened = |order: &Value| order["steps"][2]["deadline"].is_string();
            let seen = self.escrow().order_when(&order, "waits", opened).await;
            let deadline = seen["steps"][2]["deadline"].as_str().unwrap().parse().unwrap();
            self.deadlines.lock().unwrap().insert(order, deadline);
        }
    }

    /// Answers the orders that wait.
    pub async fn answer(&self) {
        let waiting: Vec<String> = self.deadlines.lock().unwrap().keys().cloned().collect();
        for order in waiting {
            if !self.said.lock().unwrap().contains_key(&format!("InventoryReserved-{order}")) {
                self.say("inventory_exchange", "InventoryReserved", &order, &json!({})).await;
            }
        }
    }

    /// Waits until the deadlines of all that wait are past.
    pub async fn outlast(&self) {
        let last = self.deadlines.lock().unwrap().values().max().copied();
        while last.is_some_and(|last| Timestamp::now() <= last) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        // By any clock, and whoever would fire them has had the time to.
        tokio::time::sleep(Duration::from_secs(1)).await;
    }

    /// When the answer to a waiting order was confirmed, and by when it was due.
    pub fn was_in_time(&self, order: &str) -> bool {
        let said = self.said.lock().unwrap();
        let answered = said.get(&format!("InventoryReserved-{order}")).map(|said| said.confirmed_at);
        let due = self.deadlines.lock().unwrap().get(order).copied();
        answered.zip(due).is_some_and(|(answered, due)| answered < due)
    }
}
