//! Several Escrows on one tap and one database.

use escrow::saga::time::Span;
use escrow::worker::definitions;
use serde_json::json;

use super::bed::{Bed, ORDER, heard};

#[tokio::test]
async fn each_deadline_fires_once_and_each_message_is_sent_once() {
    let bed = Bed::new(&["shop"]).await;
    let mut service = bed.listen("refunds", "shop");
    let one = bed.run(ORDER).await;
    let other = bed.start(true).await;
    let orders: Vec<String> = (0..30).map(|n| n.to_string()).collect();
    for order in &orders {
        bed.event("Placed", order);
    }
    for order in &orders {
        bed.shows(order, "running: done, waiting").await;
    }
    bed.pass(&one, Span::from_secs(31)).await;
    other.escrow.nudges.armed.notify_one();
    for order in &orders {
        bed.shows(order, "compensated: done, compensated").await;
        assert_eq!(bed.kinds(order).await, ["event", "deadline", "compensation", "confirmation"]);
    }
    let refunds = heard(&mut service).await.into_iter().filter(|body| body["type"] == "Refund").count();
    assert_eq!(refunds, orders.len());
    // The one that held the tap goes; the other takes over.
    one.stop().await;
    bed.say(Some("late"), &json!({"type": "Placed", "order": "next"}));
    bed.shows("next", "running: done, waiting").await;
    other.stop().await;
}

#[tokio::test]
async fn an_order_another_replica_opened_on_a_newer_version_gets_its_events() {
    let bed = Bed::new(&["shop"]).await;
    let old = bed.run(ORDER).await;
    // A newer definition is stored, and one order opens on it, before this replica looks.
    bed.propose(&ORDER.replace("version: 1", "version: 2")).await;
    let new = bed.start(false).await;
    let placed = json!({"specversion": "1.0", "type": "Placed", "source": "/shop", "subject": "1", "id": "x"});
    let call = reqwest::Client::new().post(format!("http://{}/v1/events", new.address));
    let call = call.header("content-type", "application/cloudevents+json").body(placed.to_string());
    let answer = call.send().await.unwrap();
    assert_eq!(answer.status().as_u16(), 202, "{}", answer.text().await.unwrap());
    assert_eq!(bed.order("order", "1").await.unwrap().version, 2);
    assert!(old.escrow.catalog().version("order", 2).is_none());
    bed.event("Paid", "1");
    bed.shows("1", "completed: done, done").await;
    assert!(old.escrow.catalog().version("order", 2).is_some());
    assert!(definitions::refresh(&old.escrow).await.is_ok());
    new.stop().await;
    old.stop().await;
}
