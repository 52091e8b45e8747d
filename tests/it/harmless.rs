//! An observer must not hurt the observed: the ways in which one could, each tried on a real broker with the whole program.
//!
//! Elsewhere: what a user without rights can do (`rabbit_plan`), the kill switch (`unbind`), a broker in alarm (`rabbitmq_outages`).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures_util::StreamExt as _;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions, ExchangeDeclareOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Confirmation, ExchangeKind};
use serde_json::{Value, json};
use tokio::task::block_in_place;

use crate::support::choreography::{Service, definition};
use crate::support::escrow::Escrow;
use crate::support::rabbitmq::{Vhost, shared};
use crate::support::{postgres, services};

/// Exchanges of every kind, as services may declare them: name, type, durable, auto-delete, alternate exchange.
const EXCHANGES: [(&str, ExchangeKind, bool, bool, bool); 5] = [
    ("billing", ExchangeKind::Topic, true, false, true),
    ("brief", ExchangeKind::Fanout, false, true, false),
    ("orders", ExchangeKind::Fanout, true, false, false),
    ("shipping", ExchangeKind::Headers, true, false, false),
    ("stock", ExchangeKind::Direct, false, false, false),
];

const EVERY_KIND: &str = "saga: order\nversion: 1\nread: { event: /event_type, order_id: /data/order_id }\n\
    watch: [{ exchange: billing }, { exchange: brief }, { exchange: orders }, { exchange: shipping }, { exchange: stock }]\n\
    steps:\n  a: { done: billing }\n  b: { done: brief }\n  c: { done: orders }\n  d: { done: shipping }\n  e: { done: stock }\n";

/// Services that declare what they need, in their own way, and a queue that is called like one of the exchanges.
async fn services_start(url: &str) -> services::Service {
    let service = services::Service::connect(url).await;
    service.exchange("unrouted", ExchangeKind::Fanout).await;
    for (name, kind, durable, auto_delete, alternate) in EXCHANGES {
        let options = ExchangeDeclareOptions { durable, auto_delete, ..ExchangeDeclareOptions::default() };
        let mut arguments = FieldTable::default();
        if alternate {
            arguments.insert("alternate-exchange".into(), AMQPValue::LongString("unrouted".into()));
        }
        let declared = service.channel.exchange_declare(name.into(), kind, options, arguments);
        declared.await.unwrap_or_else(|error| panic!("{name} was there with another shape: {error}"));
    }
    service.queue("orders").await;
    service.queue("brief.inbox").await;
    service.bind("brief.inbox", "brief", "").await;
    for n in 0..3 {
        service.send("", "orders", &format!("the service's own {n}")).await;
    }
    service
}

/// The broker's whole definition without what is Escrow's, and without the bindings of its tap.
fn without_escrow(vhost: &Vhost<'static>) -> BTreeMap<String, BTreeSet<String>> {
    let is_own = |name: &Value| name.as_str().is_some_and(|name| name == "escrow" || name.starts_with("escrow."));
    let Value::Object(all) = shared().export() else { panic!("it is an object") };
    let kinds = all.into_iter().filter_map(|(kind, rows)| Some((kind, rows.as_array()?.clone())));
    kinds
        .map(|(kind, rows)| {
            let ours = rows.into_iter().filter(|row| row["vhost"] == vhost.name.as_str());
            let foreign = ours.filter(|row| !["name", "source", "destination"].iter().any(|part| is_own(&row[*part])));
            let shown = foreign.map(|row| row.to_string().replace(&format!("\"{}\"", vhost.name), "\"V\""));
            (kind, shown.collect())
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_whole_definition_of_a_broker_is_the_same_with_and_without_escrow() {
    let (plain, observed) = (shared().vhost(), shared().vhost());
    let _without = services_start(&plain.url()).await;
    let escrow = Escrow::new(EVERY_KIND, &postgres::shared().database().await, &observed.url());
    escrow.run().await;
    escrow
        .until("it has looked", async || {
            Some(escrow.get("/v1/status").await?["sagas"][0]["unbound"].as_object()?.len() == 5)
        })
        .await;
    // After Escrow, and nobody of them gets a 406.
    let service = services_start(&observed.url()).await;
    escrow.bound().await;
    for (exchange, ..) in EXCHANGES {
        let body = json!({"event_type": exchange, "data": {"order_id": "1"}}).to_string();
        service.send(exchange, "", &body).await;
    }
    escrow.order_when("1", "saw an event from each kind of exchange", |order| order["status"] == "completed").await;
    assert_eq!(escrow.terminate(), Some(0));

    let (with, without) = block_in_place(|| (without_escrow(&observed), without_escrow(&plain)));
    assert_eq!(with, without);
    assert!(without["exchanges"].len() == 6 && without["queues"].len() == 2 && without["permissions"].len() == 2);
    // Called like a watched exchange, and Escrow's user might have: not one message was consumed, not even for a moment.
    let again = service.channel.queue_declare("orders".into(), QueueDeclareOptions::durable(), FieldTable::default());
    assert_eq!(again.await.unwrap().message_count(), 3);
    let mut consumer = service.consume("orders").await;
    for n in 0..3 {
        let delivery = services::receive(&mut consumer).await;
        assert_eq!((delivery.data, delivery.redelivered), (format!("the service's own {n}").into_bytes(), false));
    }
    service.send("brief", "", "{}").await;
    service.queue("still.there").await;
}

const IMPATIENT: &str = "within: 4s\n    on_timeout: compensate";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_escrow_whose_tap_is_full_costs_the_services_nothing_and_does_not_act_on_what_it_missed() {
    let vhost = shared().vhost();
    let url = vhost.url();
    // A small bound, as an administrator may set one.
    block_in_place(|| {
        let (pattern, bound) = (r"^escrow\.tap\.", r#"{"max-length":20}"#);
        shared().ctl(&["set_operator_policy", "-p", &vhost.name, "small", pattern, bound, "--apply-to", "queues"])
    });
    let escrow = Escrow::new(&definition(IMPATIENT, "within: 60s"), &postgres::shared().database().await, &url);
    let service = Service::start(&url).await;
    service.0.queue("inbox").await;
    service.0.bind("inbox", "order_exchange", "").await;
    escrow.run().await;
    escrow.bound().await;
    service.publish("order_exchange", "OrderPlaced", "open").await;
    service.publish("payment_exchange", "PaymentProcessed", "open").await;
    escrow.order_when("open", "waits for inventory", |order| order["progress"]["done"] == 2).await;
    escrow.kill_9();

    // Its answer comes while nobody looks, and is pushed out by what comes after.
    service.publish("inventory_exchange", "InventoryReserved", "open").await;
    let channel = &service.0.channel;
    channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
    let mut flying = Vec::new();
    for number in 0..300 {
        let body = json!({"event_type": "OrderPlaced", "data": {"order_id": format!("later-{number}")}}).to_string();
        let properties = BasicProperties::default().with_delivery_mode(2);
        let options = BasicPublishOptions::default();
        let sent = channel.basic_publish("order_exchange".into(), "".into(), options, body.as_bytes(), properties);
        flying.push(sent.await.unwrap());
    }
    for (number, confirm) in flying.into_iter().enumerate() {
        let word = tokio::time::timeout(Duration::from_mins(1), confirm).await.expect("the service is not blocked");
        assert!(matches!(word.unwrap(), Confirmation::Ack(None)), "{number} was nacked");
    }
    let inbox = channel.queue_declare("inbox".into(), QueueDeclareOptions::durable(), FieldTable::default());
    assert_eq!(inbox.await.unwrap().message_count(), 301, "every one of them reached the service's own queue");

    escrow.run().await;
    let stuck = escrow.order_when("open", "is told about", |order| order["status"] == "stuck").await;
    assert_eq!((&stuck["stuck"]["reason"], &stuck["unproven"][0]), (&json!("unproven"), &json!("gap")), "{stuck}");
    let status = escrow.get("/v1/status").await.unwrap();
    assert!(status["doubts"]["gaps"].as_u64() >= Some(1), "{status}");
    let trail = escrow.audit("open").await;
    let acted = trail.iter().filter(|entry| entry["kind"] == "compensation" || entry["kind"] == "retry");
    assert_eq!(acted.count(), 0, "{trail:?}");
}

/// The compensation is an event the saga itself names, published where the saga listens.
const LOOPING: &str = r#"
saga: order
version: 1
watch: [{ exchange: order_exchange }, { exchange: payment_exchange }]
read: { event: /event_type, order_id: /data/order_id }
steps:
  placed: { done: OrderPlaced }
  payment:
    after: placed
    done: PaymentProcessed
    compensation:
      publish: { event: OrderCancelled, exchange: payment_exchange, body: { event_type: OrderCancelled, data: { order_id: "{{ order_id }}" } } }
  shipping: { after: payment, done: OrderShipped, within: 1s, on_timeout: compensate }
cancelled_by: OrderCancelled
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_compensation_into_a_watched_exchange_is_nobodys_event_not_even_another_escrows() {
    let vhost = shared().vhost();
    let url = vhost.url();
    let service = Service::start(&url).await;
    let mut asked = service.listen("payment_exchange").await;
    let one = Escrow::new(LOOPING, &postgres::shared().database().await, &url);
    let other = Escrow::new(LOOPING, &postgres::shared().database().await, &url).named("other");
    for escrow in [&one, &other] {
        escrow.run().await;
        escrow.bound().await;
    }
    service.publish("order_exchange", "OrderPlaced", "1").await;
    service.publish("payment_exchange", "PaymentProcessed", "1").await;
    for escrow in [&one, &other] {
        escrow.order_when("1", "is compensated", |order| order["status"] == "compensated").await;
    }
    // A service's own word behind them in both taps: once that is applied, all before it is.
    service.publish("order_exchange", "OrderPlaced", "2").await;
    for escrow in [&one, &other] {
        escrow.order_when("2", "is followed", |order| order["status"] == "running").await;
        let trail = escrow.audit("1").await;
        let events: Vec<&str> =
            trail.iter().filter(|it| it["kind"] == "event").map(|it| it["name"].as_str().unwrap()).collect();
        assert_eq!(events, ["OrderPlaced", "PaymentProcessed"], "of its own words none came back as an event");
        assert!(trail.iter().all(|it| it["kind"] != "late" && it["kind"] != "conflict"), "{trail:?}");
        let quarantine = escrow.get("/v1/quarantine").await.unwrap();
        assert_eq!(quarantine["messages"], json!([]));
    }
    service.publish("payment_exchange", "Last", "1").await;
    let (mut cancellations, mut ids) = (0, BTreeSet::new());
    loop {
        let delivery =
            tokio::time::timeout(Duration::from_mins(1), asked.next()).await.expect("it comes").unwrap().unwrap();
        let body: Value = serde_json::from_slice(&delivery.data).unwrap();
        match body["event_type"].as_str().unwrap() {
            "OrderCancelled" => {
                cancellations += 1;
                ids.insert(delivery.properties.message_id().clone().unwrap().to_string());
            }
            "Last" => break,
            _ => {}
        }
    }
    assert_eq!(
        (cancellations, ids.len()),
        (2, 1),
        "each Escrow asked once, and both by one id: a service sees one request"
    );

    // The same words from a service do count.
    service.publish("payment_exchange", "OrderCancelled", "2").await;
    one.order_when("2", "turns back", |order| order["status"] == "compensating").await;
}
