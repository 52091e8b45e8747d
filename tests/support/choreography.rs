//! Four services that know nothing of Escrow: a fanout exchange each, anonymous auto-ack queues, bodies of
//! `{"event_type", "data"}`. The first of the example choreographies, as teams write it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::StreamExt as _;
use lapin::options::{BasicConsumeOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Consumer, ExchangeKind};
use serde_json::{Value, json};
use uuid::Uuid;

use super::services;

/// The definition of this choreography, with its timing.
pub fn definition(inventory: &str, notification: &str) -> String {
    format!(
        r#"
saga: order
version: 1
watch:
  - exchange: order_exchange
  - exchange: payment_exchange
  - exchange: inventory_exchange
  - exchange: notification_exchange
read: {{ event: /event_type, order_id: /data/order_id }}
attributes: {{ customer: /data/customer }}
brake: none
steps:
  placed: {{ done: OrderPlaced }}
  payment:
    after: placed
    done: PaymentProcessed
    within: 60s
    compensation:
      publish:
        event: RefundPayment
        exchange: payment_exchange
        body: {{ event_type: RefundPayment, data: {{ order_id: "{{{{ order_id }}}}", reason: "{{{{ reason }}}}" }} }}
      done: PaymentRefunded
      within: 60s
  inventory:
    after: placed
    done: InventoryReserved
    {inventory}
    compensation:
      publish:
        event: ReleaseInventory
        exchange: inventory_exchange
        body: {{ event_type: ReleaseInventory, data: {{ order_id: "{{{{ order_id }}}}" }} }}
      done: InventoryReleased
      within: 2s
  notification:
    after: [payment, inventory]
    done: NotificationSent
    {notification}
"#
    )
}

/// The exchanges of the services, by service.
pub const EXCHANGES: [&str; 4] = ["order_exchange", "payment_exchange", "inventory_exchange", "notification_exchange"];

/// A service: its own connection, its exchange declared as it likes.
pub struct Service(pub services::Service);

impl Service {
    /// Connects and declares all exchanges, as every service does at its start.
    pub async fn start(url: &str) -> Self {
        let service = services::Service::connect(url).await;
        for exchange in EXCHANGES {
            service.exchange(exchange, ExchangeKind::Fanout).await;
        }
        Self(service)
    }

    /// An anonymous exclusive queue on an exchange, consumed without acknowledgements: what comes while nobody listens is missed.
    pub async fn listen(&self, exchange: &str) -> Consumer {
        let exclusive = QueueDeclareOptions { exclusive: true, auto_delete: true, ..QueueDeclareOptions::default() };
        let queue = self.0.channel.queue_declare("".into(), exclusive, FieldTable::default()).await.unwrap();
        let name = queue.name().clone();
        let bound = self.0.channel.queue_bind(
            name.clone(),
            exchange.into(),
            "".into(),
            QueueBindOptions::default(),
            FieldTable::default(),
        );
        bound.await.unwrap();
        let options = BasicConsumeOptions { no_ack: true, ..BasicConsumeOptions::default() };
        self.0.channel.basic_consume(name, "".into(), options, FieldTable::default()).await.unwrap()
    }

    /// Publishes an event about an order.
    pub async fn publish(&self, exchange: &str, event: &str, order_id: &str) {
        let body = json!({"event_type": event, "data": {"order_id": order_id, "customer": "Ada"}}).to_string();
        let properties = BasicProperties::default().with_message_id(Uuid::new_v4().to_string().into());
        self.0.send_with(exchange, "", &body, properties).await;
    }
}

/// One reaction of a service: when it sees an event, it publishes another.
pub struct Reaction {
    pub on: (&'static str, &'static str),
    pub publish: (&'static str, &'static str),
    /// Whether this order is answered.
    pub answers: fn(u64) -> bool,
}

/// Every order is answered.
pub fn always(_: u64) -> bool {
    true
}

/// A service that reacts until it is dropped. Dropping it is its death: its queue goes with its connection.
pub struct Reacting {
    stop: Arc<AtomicBool>,
    task: tokio::task::JoinHandle<()>,
}

impl Reacting {
    /// Starts a service with one reaction; it listens when this returns.
    pub async fn start(url: &str, reaction: Reaction) -> Self {
        let service = Service::start(url).await;
        let mut consumer = service.listen(reaction.on.0).await;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let task = tokio::spawn(async move {
            while let Some(Ok(delivery)) = consumer.next().await {
                if stopped.load(Ordering::Acquire) {
                    return;
                }
                let Ok(body) = serde_json::from_slice::<Value>(&delivery.data) else { continue };
                let order_id = body["data"]["order_id"].as_str().unwrap_or_default().to_owned();
                let number = order_id.trim_start_matches(|c: char| !c.is_ascii_digit()).parse().unwrap_or(0);
                if body["event_type"] == reaction.on.1 && (reaction.answers)(number) {
                    service.publish(reaction.publish.0, reaction.publish.1, &order_id).await;
                }
            }
        });
        Self { stop, task }
    }

    /// Payment: charges, and refunds when asked.
    pub async fn payment(url: &str) -> [Self; 2] {
        [
            Self::start(
                url,
                Reaction {
                    on: ("order_exchange", "OrderPlaced"),
                    publish: ("payment_exchange", "PaymentProcessed"),
                    answers: always,
                },
            )
            .await,
            Self::start(
                url,
                Reaction {
                    on: ("payment_exchange", "RefundPayment"),
                    publish: ("payment_exchange", "PaymentRefunded"),
                    answers: always,
                },
            )
            .await,
        ]
    }

    /// Inventory: reserves.
    pub async fn inventory(url: &str) -> Self {
        let on = ("order_exchange", "OrderPlaced");
        Self::start(url, Reaction { on, publish: ("inventory_exchange", "InventoryReserved"), answers: always }).await
    }

    /// Notification: tells the customer of the orders `answers` says.
    pub async fn notification(url: &str, answers: fn(u64) -> bool) -> Self {
        let on = ("inventory_exchange", "InventoryReserved");
        Self::start(url, Reaction { on, publish: ("notification_exchange", "NotificationSent"), answers }).await
    }
}

impl Drop for Reacting {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        self.task.abort();
    }
}
