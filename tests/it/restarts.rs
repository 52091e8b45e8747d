//! What happens when Escrow, the broker or the database goes away.

use std::time::Duration;

use serde_json::json;

use crate::support::choreography::{Service, definition};
use crate::support::escrow::Escrow;
use crate::support::traffic::Sure;
use crate::support::{postgres, rabbitmq};

/// The events of one order that goes well, with the exchange of each.
const EVENTS: [(&str, &str); 4] = [
    ("order_exchange", "OrderPlaced"),
    ("payment_exchange", "PaymentProcessed"),
    ("inventory_exchange", "InventoryReserved"),
    ("notification_exchange", "NotificationSent"),
];

const SHORT: &str = "within: 2s\n    on_timeout: compensate";

#[tokio::test(flavor = "multi_thread")]
async fn orders_that_completed_while_escrow_was_away_have_no_timeout() {
    let vhost = rabbitmq::shared().vhost();
    let url = vhost.url();
    let escrow = Escrow::new(&definition(SHORT, SHORT), &postgres::shared().database().await, &url);
    let service = Service::start(&url).await;
    escrow.run().await;
    escrow.bound().await;
    for number in 1..=500 {
        service.publish("order_exchange", "OrderPlaced", &number.to_string()).await;
        if number == 250 {
            escrow.kill_9();
        }
    }
    for (exchange, event) in &EVENTS[1..] {
        for number in 1..=500 {
            service.publish(exchange, event, &number.to_string()).await;
        }
    }
    // Until every deadline of the orders that Escrow has seen is long past.
    tokio::time::sleep(Duration::from_secs(4)).await;
    escrow.run().await;
    escrow.all_are("completed", 500).await;
    let fired = escrow.get("/v1/journal?kind=deadline,retry,compensation").await.unwrap();
    assert_eq!(fired["entries"], json!([]), "nothing fired");
}

const ORDERS: u32 = 3000;
const PUBLISHERS: u32 = 6;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[expect(
    clippy::await_holding_lock,
    reason = "the broker belongs to one test at a time, from its beginning to its end"
)]
async fn three_thousand_orders_survive_the_death_of_escrow_the_broker_and_the_database() {
    let (broker, _turn) = rabbitmq::rough();
    let database = postgres::Server::dedicated();
    let vhost = broker.vhost();
    let url = vhost.url();
    let minutes = "within: 10m\n    on_timeout: compensate";
    let escrow = Escrow::new(&definition(minutes, minutes), &database.database().await, &url);
    drop(Service::start(&url).await);
    escrow.run().await;
    escrow.bound().await;

    let publishers: Vec<_> =
        (0..PUBLISHERS).map(|publisher| tokio::spawn(publish_share(url.clone(), publisher))).collect();
    let seen = async |count: u64| {
        escrow
            .until("orders come in", async || {
                let counts = escrow.counts().await?;
                let total: u64 = counts.as_object()?.values().filter_map(serde_json::Value::as_u64).sum();
                (total >= count).then_some(())
            })
            .await;
    };
    seen(300).await;
    escrow.kill_9();
    escrow.run().await;
    seen(800).await;
    tokio::task::block_in_place(|| {
        broker.kill_9();
        broker.start();
    });
    seen(1300).await;
    tokio::task::block_in_place(|| {
        database.kill_9();
        database.start();
    });
    escrow.ready().await;
    for publisher in publishers {
        publisher.await.unwrap();
    }
    escrow.all_are("completed", u64::from(ORDERS)).await;

    let fired = escrow.get("/v1/journal?kind=deadline,retry,compensation").await.unwrap();
    assert_eq!(fired["entries"], json!([]), "no deadline fired");
    for number in (0..ORDERS).step_by(100) {
        let trail = escrow.audit(&number.to_string()).await;
        let mut names: Vec<_> = trail.iter().map(|entry| entry["name"].as_str().unwrap().to_owned()).collect();
        names.sort();
        assert_eq!(
            names,
            ["InventoryReserved", "NotificationSent", "OrderPlaced", "PaymentProcessed"],
            "order {number}"
        );
    }
    let again = escrow.get("/v1/journal?kind=repeated,conflict,late").await.unwrap();
    assert_eq!(again["entries"], json!([]), "each event once in its trail");
    let verified = escrow.command(&["audit", "verify"]);
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stdout));
}

async fn publish_share(url: String, publisher: u32) {
    let mut sure = Sure::new(&url);
    for number in (publisher..ORDERS).step_by(PUBLISHERS as usize) {
        for (exchange, event) in EVENTS {
            let body = json!({"event_type": event, "data": {"order_id": number}});
            sure.publish(exchange, &format!("{event}-{number}"), &body).await;
        }
    }
}
