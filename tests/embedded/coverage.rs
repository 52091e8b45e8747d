//! Which events a saga names and which it met: counted with each batch, over the bus and over HTTP, and kept.

use serde_json::{Value, json};

use super::bed::{Bed, ORDER};
use super::http::call;

/// The events of a saga, once so many deliveries were counted.
async fn events(bed: &Bed, running: &escrow::app::Running, deliveries: u64) -> Value {
    bed.until("all deliveries are counted", async || {
        let found = call(running, "GET", "/v1/sagas/order/events", &Value::Null).await;
        let seen: u64 = found["events"].as_array().unwrap().iter().filter_map(|it| it["seen"].as_u64()).sum();
        (seen == deliveries).then_some(found)
    })
    .await
}

#[tokio::test]
async fn a_misspelt_event_is_found_with_the_one_that_was_meant() {
    let bed = Bed::new(&["shop", "foreign"]).await;
    let running = bed.run(ORDER).await;
    let found = events(&bed, &running, 0).await;
    let never: Vec<&Value> = found["never_seen"].as_array().unwrap().iter().map(|it| &it["event"]).collect();
    assert_eq!(never, ["Paid", "Placed"]);

    bed.event("Placed", "1");
    bed.event("paid_", "1");
    // No order id, and no name: the first is an event the saga names, the second is none.
    bed.say(Some("a"), &json!({"type": "Placed"}));
    bed.say(Some("b"), &json!({"kind": "Placed"}));
    bed.say_on("foreign", Some("c"), &json!({"type": "Placed", "order": "2"}));
    let found = events(&bed, &running, 3).await;
    assert_eq!(found["version"], 1);
    assert_eq!(found["named_nowhere"][0]["event"], "paid_");
    assert_eq!(
        (&found["named_nowhere"][0]["exchange"], &found["named_nowhere"][0]["seen"]),
        (&json!("shop"), &json!(1))
    );
    let paid = json!([{"step": "paid", "as": "done"}]);
    assert_eq!(found["never_seen"], json!([{"event": "Paid", "used_by": paid, "similar": ["paid_"]}]));
    assert_eq!((&found["events"][1]["event"], &found["events"][1]["seen"]), (&json!("Placed"), &json!(2)));
    assert!(found["other"].is_null() && found["events"][1]["last_at"].is_string());
    running.stop().await;

    // Counts are the database's, not the process's; and HTTP is counted beside the bus.
    let running = bed.start(true).await;
    let event = json!({"specversion": "1.0", "type": "Paid", "source": "/s", "id": "1", "subject": "1"});
    let url = format!("http://{}/v1/events", running.address);
    let sent = reqwest::Client::new().post(url).header("content-type", "application/cloudevents+json");
    assert_eq!(sent.body(event.to_string()).send().await.unwrap().status().as_u16(), 202);
    let found = events(&bed, &running, 4).await;
    assert_eq!(found["never_seen"], json!([]));
    assert_eq!(found["events"][0]["exchanges"], json!([""]));
    bed.shows("1", "completed: done, done").await;
    let missing = call(&running, "GET", "/v1/sagas/ordre/events", &Value::Null).await;
    assert_eq!((&missing["status"], missing["detail"].as_str().unwrap().contains("`order`")), (&json!(404), true));
    running.stop().await;
}

#[tokio::test]
async fn a_foreign_exchange_full_of_names_leaves_orders_alone() {
    let bed = Bed::new(&["shop"]).await;
    let running = bed.run(ORDER).await;
    for number in 0..1_500 {
        bed.say(Some(&format!("noise-{number}")), &json!({"type": format!("Noise.{number}"), "order": "1"}));
    }
    bed.event("Placed", "1");
    bed.shows("1", "running: done, waiting").await;
    let found = bed
        .until("all noise is counted", async || {
            let found = call(&running, "GET", "/v1/sagas/order/events", &Value::Null).await;
            (found["other"]["seen"] == 500).then_some(found)
        })
        .await;
    assert_eq!(found["named_nowhere"].as_array().unwrap().len(), 1_000);
    running.stop().await;
}
