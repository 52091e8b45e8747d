//! What the pure parts cost, without a server: reading a message, deciding a batch, and the chain of the trail.
//!
//! ```text
//!   cargo bench --bench pure [-- FILTER]
//!
//!   Delivery ──read──▶ Work ──decide (with everything loaded)──▶ Changes, each entry hashed
//! ```
#![expect(clippy::unwrap_used, reason = "a measurement that cannot go on should say where")]

use std::sync::Arc;

use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use escrow::bus::{Delivery, Envelope};
use escrow::saga::batch::Loaded;
use escrow::saga::catalog::Catalog;
use escrow::saga::decide::{Plan, Work};
use escrow::saga::journal::{Kind, chain};
use escrow::saga::order::OrderKey;
use escrow::saga::parse::parse;
use escrow::saga::time::Moment;
use escrow::worker::reading::Readings;
use escrow::worker::sight::Sight;

/// Messages of a batch.
const BATCH: usize = 1_000;
const NOW: Moment = Moment(1_767_225_600_000_000);
const DEFINITION: &str = "\
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

fn main() {
    divan::main();
}

fn catalog() -> Arc<Catalog> {
    Arc::new(std::iter::once(Arc::new(parse("bench.yaml", DEFINITION).unwrap().saga)).collect())
}

fn delivery(event: &str, order: usize) -> Delivery {
    let body = format!(
        r#"{{"event_type":"{event}","occurred_at":"2026-01-31T12:34:56.789Z","data":{{"order_id":"order-{order:08}","customer":"customer-{order:05}","currency":"EUR","amount":129.90,"items":[{{"sku":"A-1001","count":2}},{{"sku":"B-2002","count":1}}],"note":"left at the door"}}}}"#
    );
    let mut envelope = Envelope::default();
    envelope.properties.insert("delivery_mode".to_owned(), 2.into());
    envelope.properties.insert("message_id".to_owned(), format!("{event}-{order}").into());
    Delivery {
        exchange: "shop".to_owned(),
        routing_key: String::new(),
        envelope,
        body: body.into_bytes(),
        redelivered: false,
    }
}

fn read(catalog: &Catalog, deliveries: &[Delivery]) -> Vec<Work> {
    let (mut readings, sight) = (Readings::new(1 << 20), Sight::default());
    deliveries.iter().filter_map(|it| readings.read(catalog, &sight, it, [7; 16], None)).map(Work::Delivered).collect()
}

fn plan(catalog: &Arc<Catalog>, work: Vec<Work>) -> Plan {
    Plan::of(Arc::clone(catalog), work, escrow::wire::stored_event)
}

/// A batch of the first events, and one of the second events with the orders they are for.
#[divan::bench(args = ["orders begin", "orders go on"])]
fn decide(bencher: Bencher<'_, '_>, which: &str) {
    let catalog = catalog();
    let deliveries = |event| (0..BATCH).map(|order| delivery(event, order)).collect::<Vec<_>>();
    let begin = plan(&catalog, read(&catalog, &deliveries("OrderCreated")));
    let nothing = Loaded { now: NOW, ..Loaded::default() };
    let (plan, loaded) = if which == "orders begin" {
        (begin, nothing)
    } else {
        let begun = begin.decide(&nothing).orders;
        let orders = begun.into_iter().map(|saved| (saved.order.key.clone(), saved.order)).collect();
        (plan(&catalog, read(&catalog, &deliveries("PaymentAuthorized"))), Loaded { orders, ..nothing })
    };
    assert_eq!(plan.decide(&loaded).orders.len(), BATCH);
    bencher.counter(ItemsCount::new(BATCH)).bench(|| black_box(&plan).decide(black_box(&loaded)));
}

#[divan::bench]
fn read_messages(bencher: Bencher<'_, '_>) {
    let catalog = catalog();
    let deliveries: Vec<Delivery> = (0..BATCH).map(|order| delivery("PaymentAuthorized", order)).collect();
    bencher.counter(ItemsCount::new(BATCH)).bench(|| read(&catalog, black_box(&deliveries)));
}

#[divan::bench]
fn chain_entries(bencher: Bencher<'_, '_>) {
    let key = OrderKey { saga: "order".to_owned(), order_id: "order-00004711".to_owned() };
    let body = "x".repeat(675);
    let all = || {
        (1..=BATCH as u64).fold([0; 32], |head, sequence| chain(&head, &key, sequence, NOW, Kind::Event, None, &body))
    };
    bencher.counter(ItemsCount::new(BATCH)).bench(all);
}
