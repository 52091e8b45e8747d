//! The load: four events for each order, some 300 bytes of JSON each, the steps of one order far apart.

use futures_util::stream::{FuturesUnordered, StreamExt as _};
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::{BasicProperties, Channel, Confirmation};
use serde::{Deserialize, Serialize};
use std::time::{Duration, Instant};

use crate::support::services::Service;

/// The exchange all services publish to.
pub const EXCHANGE: &str = "shop";
/// What happens to an order, in this order.
pub const EVENTS: [&str; 4] = ["OrderCreated", "PaymentAuthorized", "OrderDispatched", "OrderDelivered"];
/// Orders that begin between two events of one order.
const APART: u64 = 2_000;
/// Publishes whose confirms are waited for at the same time.
const WINDOW: usize = 2_000;

/// How Escrow follows these orders.
pub const DEFINITION: &str = "\
saga: order
version: 1
watch: [{ exchange: shop }]
read: { event: /event_type, order_id: /data/order_id }
attributes: { customer: /data/customer }
steps:
  created: { done: OrderCreated }
  payment: { after: created, done: PaymentAuthorized, within: 10m }
  dispatch: { after: payment, done: OrderDispatched, within: 1d }
  delivery: { after: dispatch, done: OrderDelivered, within: 3d }
";

/// The name of an order; all names are equally long.
pub fn order_id(number: u64) -> String {
    format!("order-{number:08}")
}

/// Event `step` of an order, as its service writes it.
pub fn body(order_id: &str, step: usize) -> String {
    let event = EVENTS[step];
    let customer = &order_id[order_id.len() - 5..];
    format!(
        r#"{{"event_type":"{event}","event_id":"6f1d1c3e-9a0b-4c55-8f5e-4f5b7c0a1d2e","occurred_at":"2026-01-31T12:34:56.789Z","data":{{"order_id":"{order_id}","customer":"customer-{customer}","currency":"EUR","amount":129.90,"items":[{{"sku":"A-1001","count":2}},{{"sku":"B-2002","count":1}}],"note":"left at the door"}}}}"#
    )
}

/// Which order and which step each of `events` events is, in the order they are published; `steps` for each order.
pub fn sequence(events: u64, steps: u64) -> impl Iterator<Item = (u64, usize)> {
    let orders = events / steps;
    let apart = APART.min(orders / steps + 1);
    (0..orders + (steps - 1) * apart).flat_map(move |tick| {
        (0..steps).rev().filter_map(move |step| {
            let order = tick.checked_sub(step * apart).filter(|order| *order < orders)?;
            Some((order, usize::try_from(step).unwrap()))
        })
    })
}

/// The events of [`sequence`] as messages to the services' exchange.
pub fn messages(events: u64, steps: u64, first_order: u64) -> impl Iterator<Item = Message> {
    sequence(events, steps).map(move |(order, step)| Message {
        exchange: EXCHANGE.to_owned(),
        body: body(&order_id(first_order + order), step),
        ..Message::default()
    })
}

/// What is published.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Message {
    pub exchange: String,
    pub routing_key: String,
    pub body: String,
    pub mandatory: bool,
}

/// Publishes persistent messages with confirms, many under way at a time; at `rate` a second, or as fast as it goes.
pub async fn publish(url: &str, messages: impl Iterator<Item = Message>, rate: Option<u64>) {
    let service = Service::connect(url).await;
    let channel = &service.channel;
    channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
    let mut confirms = FuturesUnordered::new();
    let began = Instant::now();
    // Slept for a hundred times a second, or less often where that would be for less than a message.
    let at_once = rate.map_or(1, |rate| usize::try_from(rate / 100).unwrap().clamp(1, 50));
    for (number, message) in messages.enumerate() {
        if let Some(rate) = rate {
            let due = Duration::from_secs_f64(number as f64 / rate as f64);
            if number % at_once == 0 && due > began.elapsed() {
                tokio::time::sleep(due.saturating_sub(began.elapsed())).await;
            }
        }
        let channel = channel.clone();
        confirms.push(tokio::spawn(async move { send(&channel, &message).await }));
        if confirms.len() >= WINDOW {
            assert!(matches!(confirms.next().await.unwrap().unwrap(), Confirmation::Ack(None)));
        }
    }
    while let Some(word) = confirms.next().await {
        assert!(matches!(word.unwrap(), Confirmation::Ack(None)));
    }
}

/// Publishes one message under an id of its own, and answers the broker's word.
pub async fn send(channel: &Channel, message: &Message) -> Confirmation {
    let properties =
        BasicProperties::default().with_delivery_mode(2).with_message_id(uuid::Uuid::new_v4().to_string().into());
    let options = BasicPublishOptions { mandatory: message.mandatory, ..BasicPublishOptions::default() };
    let (exchange, key) = (message.exchange.as_str(), message.routing_key.as_str());
    let sent = channel.basic_publish(exchange.into(), key.into(), options, message.body.as_bytes(), properties);
    sent.await.unwrap().await.unwrap()
}
