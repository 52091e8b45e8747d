//! The first of the example choreographies on real RabbitMQ and PostgreSQL: a fanout exchange for each service, anonymous
//! auto-ack queues, and an Escrow that was there before any of it.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::StreamExt as _;
use lapin::options::{QueueBindOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use serde_json::Value;

use crate::support::choreography::{Reacting, Service, always, definition};
use crate::support::escrow::Escrow;
use crate::support::{postgres, rabbitmq};

const PATIENT: &str = "within: 60s";

async fn escrow(definition: &str, url: &str) -> Escrow {
    Escrow::new(definition, &postgres::shared().database().await, url)
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_orders_are_followed_to_the_end_by_an_escrow_that_was_there_before_the_exchanges() {
    let vhost = rabbitmq::shared().vhost();
    let url = vhost.url();
    let escrow = escrow(&definition(PATIENT, "within: 3s\n    on_timeout: skip"), &url).await;
    escrow.run().await;
    let order = Service::start(&url).await;
    let mut told = tellings(&order, "order.notification.timed_out").await;
    let _payment = Reacting::payment(&url).await;
    let _inventory = Reacting::inventory(&url).await;
    // Every fifth notification is never sent.
    let _notification = Reacting::notification(&url, |number| number % 5 != 0).await;
    escrow.bound().await;
    for number in 1..=50 {
        order.publish("order_exchange", "OrderPlaced", &format!("{number}")).await;
    }
    escrow.all_are("completed", 50).await;

    let mut timed_out = BTreeMap::new();
    for number in 1..=50_u64 {
        let trail = escrow.audit(&number.to_string()).await;
        let deadlines = trail.iter().filter(|entry| entry["kind"] == "deadline");
        let names: Vec<&str> = deadlines.filter_map(|entry| entry["name"].as_str()).collect();
        if number % 5 == 0 {
            assert_eq!(names, ["notification"], "order {number} timed out once");
            timed_out.insert(number.to_string(), 0);
        } else {
            assert!(names.is_empty(), "order {number} was answered in time: {names:?}");
        }
    }
    while timed_out.values().any(|count| *count == 0) {
        let delivery = tokio::time::timeout(Duration::from_secs(30), told.next()).await;
        let delivery = delivery.expect("one telling for each").unwrap().unwrap();
        let event: Value = serde_json::from_slice(&delivery.data).unwrap();
        assert_eq!(event["type"], "escrow.step.timed_out");
        *timed_out.get_mut(event["subject"].as_str().unwrap()).expect("only those that timed out") += 1;
    }
    assert!(timed_out.values().all(|count| *count == 1), "told once for each order: {timed_out:?}");

    let order_5 = escrow.get("/v1/orders?order_id=5").await.unwrap();
    assert_eq!(order_5["orders"][0]["attributes"]["customer"], "Ada");
    assert_eq!(escrow.terminate(), Some(0), "an orderly end");
}

/// A queue on Escrow's own exchange, as any service may have one.
async fn tellings(service: &Service, key: &str) -> lapin::Consumer {
    let options = QueueDeclareOptions { exclusive: true, ..QueueDeclareOptions::default() };
    let queue = service.0.channel.queue_declare("".into(), options, FieldTable::default()).await.unwrap();
    let name = queue.name().clone();
    let bind = QueueBindOptions::default();
    let bound = service.0.channel.queue_bind(name.clone(), "escrow".into(), key.into(), bind, FieldTable::default());
    bound.await.unwrap();
    let consume = lapin::options::BasicConsumeOptions { no_ack: true, ..Default::default() };
    service.0.channel.basic_consume(name, "".into(), consume, FieldTable::default()).await.unwrap()
}

const IMPATIENT: &str = "within: 1s\n    retry: { times: 2, every: 1s, to: original }\n    on_timeout: compensate";

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_inventory_is_retried_then_timed_out_and_the_refund_is_seen_through() {
    let vhost = rabbitmq::shared().vhost();
    let url = vhost.url();
    let escrow = escrow(&definition(IMPATIENT, PATIENT), &url).await;
    let order = Service::start(&url).await;
    escrow.run().await;
    let _payment = Reacting::payment(&url).await;
    // Its queue outlives it, so its compensation is routed, and never answered.
    let deaf = order.listen("inventory_exchange").await;
    escrow.bound().await;
    order.publish("order_exchange", "OrderPlaced", "4711").await;

    let stuck = escrow.order_when("4711", "is stuck", |order| order["stuck"]["reason"] == "compensation_overdue").await;
    let step = |name: &str| {
        let steps = stuck["steps"].as_array().unwrap();
        steps.iter().find(|step| step["step"] == name).unwrap()["status"].as_str().unwrap().to_owned()
    };
    assert_eq!(
        (step("placed").as_str(), step("payment").as_str(), step("inventory").as_str()),
        ("done", "compensated", "compensation_failed")
    );
    assert_eq!(stuck["stuck"]["step"], "inventory");
    let trail = escrow.audit("4711").await;
    let of = |kind: &str, name: &str| trail.iter().filter(|it| it["kind"] == kind && it["name"] == name).count();
    assert_eq!(of("retry", "inventory"), 2);
    assert_eq!(of("compensation", "RefundPayment"), 1);
    assert_eq!(of("compensation", "ReleaseInventory"), 1);
    assert_eq!(of("event", "PaymentRefunded"), 1);
    drop(deaf);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_inventory_that_comes_back_in_time_for_a_retry_saves_the_order() {
    let vhost = rabbitmq::shared().vhost();
    let url = vhost.url();
    let patient = "within: 1s\n    retry: { times: 20, every: 1s, to: original }\n    on_timeout: compensate";
    let escrow = escrow(&definition(patient, PATIENT), &url).await;
    let order = Service::start(&url).await;
    escrow.run().await;
    let _payment = Reacting::payment(&url).await;
    let _notification = Reacting::notification(&url, always).await;
    escrow.bound().await;
    order.publish("order_exchange", "OrderPlaced", "1").await;
    escrow.order_when("1", "was retried", |order| order["steps"][2]["attempts"].as_u64() > Some(0)).await;
    let _inventory = Reacting::inventory(&url).await;

    escrow.order_when("1", "is completed", |order| order["status"] == "completed").await;
    let trail = escrow.audit("1").await;
    assert!(trail.iter().any(|entry| entry["kind"] == "retry"));
    assert!(trail.iter().all(|entry| entry["kind"] != "compensation"), "nothing was undone");
}
