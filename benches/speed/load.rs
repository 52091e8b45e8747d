//! The load: four events for each order, some 300 bytes of JSON each, the steps of one order far apart.

use futures_util::stream::{FuturesUnordered, StreamExt as _};
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::{BasicProperties, Confirmation};
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

/// Which order and which step each of `events` events is, in the order they are published.
pub fn sequence(events: u64) -> impl Iterator<Item = (u64, usize)> {
    let orders = events / 4;
    let apart = APART.min(orders / 4 + 1);
    (0..orders + 3 * apart).flat_map(move |tick| {
        (0..4).rev().filter_map(move |step| {
            let order = tick.checked_sub(step * apart).filter(|order| *order < orders)?;
            Some((order, usize::try_from(step).unwrap()))
        })
    })
}

/// Publishes persistent messages with confirms, many under way at a time; at `rate` a second, or as fast as it goes.
pub async fn publish(url: &str, events: u64, first_order: u64, rate: Option<u64>) {
    let service = Service::connect(url).await;
    let channel = &service.channel;
    channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
    let mut confirms = FuturesUnordered::new();
    let began = Instant::now();
    for (number, (order, step)) in sequence(events).enumerate() {
        if let Some(rate) = rate {
            let due = Duration::from_secs_f64(number as f64 / rate as f64);
            if number % 50 == 0 && due > began.elapsed() {
                tokio::time::sleep(due - began.elapsed()).await;
            }
        }
        let order_id = order_id(first_order + order);
        let body = body(&order_id, step);
        let properties =
            BasicProperties::default().with_delivery_mode(2).with_message_id(uuid::Uuid::new_v4().to_string().into());
        let options = BasicPublishOptions::default();
        let channel = channel.clone();
        confirms.push(tokio::spawn(async move {
            let sent = channel.basic_publish(EXCHANGE.into(), "".into(), options, body.as_bytes(), properties);
            sent.await.unwrap().await.unwrap()
        }));
        if confirms.len() >= WINDOW {
            assert!(matches!(confirms.next().await.unwrap().unwrap(), Confirmation::Ack(None)));
        }
    }
    while let Some(word) = confirms.next().await {
        assert!(matches!(word.unwrap(), Confirmation::Ack(None)));
    }
}
