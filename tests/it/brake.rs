//! The brake over two processes, one of which dies; and what an operator does about what it held.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::StreamExt as _;
use serde_json::json;

use crate::support::choreography::Service;
use crate::support::escrow::Escrow;
use crate::support::{postgres, rabbitmq};

const DEFINITION: &str = r#"
saga: order
version: 1
watch: [{ exchange: order_exchange }, { exchange: payment_exchange }]
read: { event: /event_type, order_id: /data/order_id }
brake: { orders: 7, per: 1h }
steps:
  placed:
    done: OrderPlaced
    compensation:
      publish: { event: CancelOrder, exchange: inventory_exchange, body: { event_type: CancelOrder, data: { order_id: "{{ order_id }}" } } }
  payment: { after: placed, done: PaymentProcessed, within: 2s, on_timeout: compensate }
"#;

const ORDERS: u64 = 40;

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_turn_back_no_more_than_the_brake_lets_and_a_person_releases_the_rest() {
    let vhost = rabbitmq::shared().vhost();
    let (url, database) = (vhost.url(), postgres::shared().database().await);
    let (one, other) = (Escrow::new(DEFINITION, &database, &url), Escrow::new(DEFINITION, &database, &url));
    let service = Service::start(&url).await;
    let mut cancellations = service.listen("inventory_exchange").await;
    one.run().await;
    other.run().await;
    one.bound().await;
    for number in 1..=ORDERS {
        service.publish("order_exchange", "OrderPlaced", &number.to_string()).await;
    }
    one.until("some are held", async || (one.counts().await?["stuck"].as_u64()? > 0).then_some(())).await;
    one.kill_9();
    let decided = async |turned: u64, held: u64| {
        let what = format!("{turned} are compensated and {held} held");
        other
            .until(&what, async || {
                let counts = other.counts().await?;
                (counts["compensated"].as_u64() == Some(turned) && counts["stuck"].as_u64() == Some(held)).then_some(())
            })
            .await;
    };
    decided(7, ORDERS - 7).await;
    one.run().await;

    let said = |escrow: &Escrow, line: &str| {
        let output = escrow.command(&line.split(' ').collect::<Vec<_>>());
        let (text, errors) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
        assert!(output.status.success(), "{line}: {text}{errors}");
        text
    };
    assert!(said(&one, "saga brake order").contains("7 of 7 counted within 1h"), "{}", said(&one, "saga brake order"));
    assert!(said(&one, "status").contains("the brake of saga order holds"));
    assert!(said(&one, "saga brake order --reset --reason found").contains("33 orders stay held"));
    let filter = "order release --saga order --reason-filter held";
    assert!(said(&one, &format!("{filter} --dry-run")).starts_with("release would be asked of 33 orders"));
    decided(7, ORDERS - 7).await;
    let released = said(&one, &format!("{filter} --per-second 100 --reason found"));
    assert!(released.contains("33 in all: 33 done"), "{released}");
    other.all_are("compensated", ORDERS).await;

    let mut asked = BTreeSet::new();
    let mut copies = 0;
    while let Ok(Some(delivery)) = tokio::time::timeout(Duration::from_secs(2), cancellations.next()).await {
        let delivery = delivery.unwrap();
        copies += 1;
        asked.insert(delivery.properties.message_id().as_ref().unwrap().to_string());
    }
    assert_eq!(asked.len() as u64, ORDERS, "each was asked for once, {copies} with those sent again");
    let journal = one.get("/v1/journal?kind=deadline,command&limit=500").await.unwrap();
    let about_saga = journal["entries"].as_array().unwrap().iter().filter(|entry| entry["order_id"].is_null());
    let names: Vec<_> = about_saga.map(|entry| entry["name"].clone()).collect();
    assert_eq!(names, [json!("brake_reset"), json!("brake_latched")]);
    assert!(said(&one, "audit verify").contains("every trail holds"));
}
