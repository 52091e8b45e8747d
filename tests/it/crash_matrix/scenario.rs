//! What happens while the program dies: the sagas, and what is published about their orders.
//!
//! ```text
//!   order    N.good  Placed ×2, Processed, Reserved        completed
//!            N.bad   Placed, Processed ×2, then silence    retried, timed out, both steps undone, compensated
//!   parcel   N       Packed, then silence                  its compensation reaches nobody: stuck
//!   line     n-th    asked and answered, without any id    completed, by arrival
//!   doubt    held    its beginning was never seen          overdue, held back: stuck
//!   letter   N       over HTTP                             completed
//!   odd      …       cannot be read, or is refused         quarantine
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use futures_util::StreamExt as _;
use lapin::options::{BasicConsumeOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::{BasicProperties, ExchangeKind};
use serde_json::{Value, json};

use crate::support::services::Service;

/// Every definition with the name of its file.
pub const SAGAS: [(&str, &str); 6] = [
    (
        "order",
        r#"
saga: order
version: 1
watch: [{ exchange: order_exchange }, { exchange: payment_exchange }, { exchange: inventory_exchange }]
read: { event: /event_type, order_id: /order_id }
attributes: { customer: /customer }
brake: none
steps:
  placed: { done: OrderPlaced }
  payment:
    after: placed
    done: PaymentProcessed
    within: 1m
    compensation:
      publish: { event: RefundPayment, exchange: payment_exchange, body: { event_type: RefundPayment, order_id: "{{ order_id }}", paid: "{{ has(steps.payment) ? steps.payment.event.order_id : order_id }}" } }
      done: PaymentRefunded
  inventory:
    after: placed
    done: InventoryReserved
    within: 500ms
    retry: { times: 1, every: 500ms, to: { queue: inventory } }
    on_timeout: compensate
    compensation:
      publish: { event: ReleaseInventory, exchange: inventory_exchange, body: { event_type: ReleaseInventory, order_id: "{{ order_id }}" } }
      done: InventoryReleased
"#,
    ),
    (
        "parcel",
        r"
saga: parcel
version: 1
watch: [{ exchange: parcel_exchange }]
read: { event: /event_type, order_id: /order_id }
brake: none
steps:
  packed:
    done: ParcelPacked
    compensation: { publish: { event: UnpackParcel, exchange: nowhere_exchange, body: { event_type: UnpackParcel } }, done: ParcelUnpacked }
  sent: { after: packed, done: ParcelSent, within: 500ms, on_timeout: compensate }
",
    ),
    (
        "line",
        r"
saga: line
version: 1
watch: [{ exchange: line_exchange }]
read: { event: /event_type, order_id: arrival }
steps:
  asked: { done: LineAsked }
  answered: { after: asked, done: LineAnswered }
",
    ),
    (
        "doubt",
        r"
saga: doubt
version: 1
watch: [{ exchange: doubt_exchange }]
read: { event: /event_type, order_id: /order_id }
brake: none
steps:
  first: { done: DoubtFirst }
  second: { after: first, done: DoubtSecond }
  third: { after: second, done: DoubtThird, within: 500ms, on_timeout: compensate }
",
    ),
    (
        "letter",
        r"
saga: letter
version: 1
watch: [{ exchange: letter_exchange }]
read: { event: /event_type, order_id: /order_id }
notify: [completed]
steps:
  written: { done: LetterWritten }
  posted: { after: written, done: LetterPosted }
",
    ),
    (
        "odd",
        r"
saga: odd
version: 1
watch: [{ exchange: odd_exchange }, { exchange: flicker_exchange }]
read: { event: /event_type, order_id: /order_id }
steps:
  seen: { done: OddSeen }
",
    ),
];

/// The exchange that comes and goes.
pub const FLICKER: &str = "flicker_exchange";

const EXCHANGES: [&str; 8] = [
    "order_exchange",
    "payment_exchange",
    "inventory_exchange",
    "parcel_exchange",
    "line_exchange",
    "doubt_exchange",
    "letter_exchange",
    "odd_exchange",
];

/// Declares what the services have, and the exchange nobody listens to.
pub async fn declare(service: &Service) {
    for exchange in EXCHANGES.into_iter().chain(["nowhere_exchange"]) {
        service.exchange(exchange, ExchangeKind::Fanout).await;
    }
}

/// Publishes one event; the same event of the same order has the same message id.
pub async fn event(service: &Service, exchange: &str, event: &str, order_id: &str) {
    let body = json!({"event_type": event, "order_id": order_id, "customer": "Ada"}).to_string();
    let properties = BasicProperties::default().with_message_id(format!("{event}-{order_id}").into());
    service.send_with(exchange, "", &body, properties).await;
}

/// One order of each kind. The ids begin with `name`; `number` is all that tells the messages of the line apart.
pub async fn orders(service: &Service, name: &str, number: u32) {
    let (good, bad) = (format!("{name}.good"), format!("{name}.bad"));
    for order in [&good, &good, &bad] {
        event(service, "order_exchange", "OrderPlaced", order).await;
    }
    for order in [&good, &bad, &bad] {
        event(service, "payment_exchange", "PaymentProcessed", order).await;
    }
    event(service, "inventory_exchange", "InventoryReserved", &good).await;
    event(service, "parcel_exchange", "ParcelPacked", name).await;
    for event in ["LineAsked", "LineAnswered"] {
        service.send("line_exchange", "", &json!({"event_type": event, "number": number}).to_string()).await;
    }
}

/// A message that names no order.
pub async fn unreadable(service: &Service) {
    service.send("odd_exchange", "", r#"{"event_type": "OddSeen"}"#).await;
}

/// What was asked of a service, or told: its name, and the order.
type Asked = (String, String);

/// The services, as far as Escrow asks anything of them. Remembers every message id under which something was asked.
#[derive(Clone, Default)]
pub struct Services {
    seen: Arc<Mutex<BTreeMap<Asked, BTreeSet<String>>>>,
}

impl Services {
    /// Starts the services; they listen when this returns.
    pub async fn start(url: &str) -> Self {
        let services = Self::default();
        let service = Service::connect(url).await;
        declare(&service).await;
        service.queue("inventory").await;
        for (queue, exchange) in [("payments", "payment_exchange"), ("reservations", "inventory_exchange")] {
            service.queue(queue).await;
            service.bind(queue, exchange, "").await;
        }
        for queue in ["inventory", "payments", "reservations"] {
            let mut consumer = consume(&service, queue).await;
            let (services, answering) = (services.clone(), Service::connect(url).await);
            tokio::spawn(async move {
                while let Some(Ok(delivery)) = consumer.next().await {
                    services.take(&answering, queue, &delivery).await;
                }
            });
        }
        // Kept as long as the test runs: the consumers live on it.
        std::mem::forget(service);
        services
    }

    /// Hears what Escrow tells, from now on. Its exchange may have been deleted, and nothing told since: then it is made as Escrow
    /// makes it.
    pub async fn hear_tellings(&self, url: &str) {
        let service = Service::connect(url).await;
        let options = QueueDeclareOptions { exclusive: true, ..QueueDeclareOptions::default() };
        let queue = service.channel.queue_declare("".into(), options, FieldTable::default()).await.unwrap();
        let name = queue.name().to_string();
        service.exchange("escrow", ExchangeKind::Topic).await;
        let (bind, any) = (QueueBindOptions::default(), FieldTable::default());
        service.channel.queue_bind(name.as_str().into(), "escrow".into(), "#".into(), bind, any).await.unwrap();
        // As the administrator does for retries.
        service.bind("inventory", "escrow.retry", "inventory").await;
        let mut consumer = consume(&service, &name).await;
        let services = self.clone();
        tokio::spawn(async move {
            let _connection = service;
            while let Some(Ok(delivery)) = consumer.next().await {
                let body: Value = serde_json::from_slice(&delivery.data).unwrap_or_default();
                let what = format!("{} {}", delivery.routing_key, body["type"].as_str().unwrap_or_default());
                services.remember(what, &body["subject"], &delivery);
            }
        });
    }

    async fn take(&self, answering: &Service, queue: &str, delivery: &lapin::message::Delivery) {
        let body: Value = serde_json::from_slice(&delivery.data).unwrap_or_default();
        let order_id = body["order_id"].as_str().unwrap_or_default();
        let answer = match (queue, body["event_type"].as_str().unwrap_or_default()) {
            // The inventory is silent: what is sent to it again is heard, and not answered.
            ("inventory", _) => return self.remember("retry".to_owned(), &body["order_id"], delivery),
            ("payments", "RefundPayment") => ("payment_exchange", "PaymentRefunded"),
            ("reservations", "ReleaseInventory") => ("inventory_exchange", "InventoryReleased"),
            _ => return,
        };
        self.remember(body["event_type"].to_string(), &body["order_id"], delivery);
        event(answering, answer.0, answer.1, order_id).await;
    }

    fn remember(&self, what: String, order_id: &Value, delivery: &lapin::message::Delivery) {
        let id = delivery.properties.message_id().as_ref().map(ToString::to_string).unwrap_or_default();
        let order_id = order_id.as_str().unwrap_or_default().to_owned();
        self.seen.lock().unwrap().entry((what, order_id)).or_default().insert(id);
    }

    /// What was asked or told, with every message id it had.
    pub fn seen(&self) -> BTreeMap<Asked, BTreeSet<String>> {
        self.seen.lock().unwrap().clone()
    }
}

async fn consume(service: &Service, queue: &str) -> lapin::Consumer {
    let options = BasicConsumeOptions { no_ack: true, ..BasicConsumeOptions::default() };
    let call = service.channel.basic_consume(queue.into(), "".into(), options, FieldTable::default());
    call.await.expect("the queue is consumed")
}
