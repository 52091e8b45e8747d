//! Actions on many orders, carried out by whoever is there.

use std::sync::Arc;

use escrow::app::Running;
use escrow::saga::input::Ask;
use escrow::saga::time::Span;
use escrow::store::BulkTurn;
use escrow::worker::commands::Commands;
use serde_json::{Value, json};
use uuid::Uuid;

use super::bed::{Bed, ORDER, heard, key};
use super::http::call;

const PAST: Span = Span::from_secs(31);

fn saga(orders: u32) -> String {
    ORDER.replace("steps:", &format!("brake: {{ orders: {orders}, per: 1m }}\nsteps:"))
}

/// So many orders, held by the brake.
async fn held(bed: &Bed, running: &Running, count: usize) -> Vec<String> {
    let orders: Vec<String> = (1..=count).map(|it| it.to_string()).collect();
    bed.event("Placed", "0");
    for order in &orders {
        bed.event("Placed", order);
    }
    for order in &orders {
        bed.shows(order, "running: done, waiting").await;
    }
    bed.pass(running, PAST).await;
    let mut all: Vec<String> = Vec::new();
    for order in ["0".to_owned()].into_iter().chain(orders) {
        let is_held = bed.until("each is decided", async || match bed.shown(&order).await.as_str() {
            "compensated: done, compensated" => Some(false),
            "stuck (held): done, timed_out" => Some(true),
            _ => None,
        });
        if is_held.await {
            all.push(order);
        }
    }
    assert_eq!(all.len(), count, "all but one");
    all
}

async fn begin(running: &Running, action: &str, per_second: f64) -> String {
    let body = json!({"filter": {"saga": "order", "reason": "held"}, "action": action, "reason": "it is back",
        "per_second": per_second});
    let begun = call(running, "POST", "/v1/actions", &body).await;
    assert_eq!(begun["status"], "running", "{begun}");
    begun["id"].as_str().unwrap().to_owned()
}

async fn shown(running: &Running, id: &str) -> Value {
    call(running, "GET", &format!("/v1/actions/{id}"), &Value::Null).await
}

/// Lets time pass until the action ended.
async fn ended(bed: &Bed, running: &Running, id: &str) -> Value {
    bed.until("the action ended", async || {
        bed.clock.advance(Span::from_millis(100));
        let bulk = shown(running, id).await;
        (bulk["status"] != "running").then_some(bulk)
    })
    .await
}

async fn commands_of(bed: &Bed, order: &str) -> usize {
    bed.kinds(order).await.iter().filter(|kind| **kind == "command").count()
}

#[tokio::test]
async fn what_the_brake_held_is_released_in_bulk_by_two_replicas_once_each() {
    let bed = Bed::new(&["shop"]).await;
    let mut service = bed.listen("refunds", "shop");
    let one = bed.run(&saga(1)).await;
    let other = bed.start(true).await;
    let orders = held(&bed, &one, 12).await;

    let dry = json!({"filter": {"reason": ["held"]}, "action": "release", "dry_run": true});
    let dry = call(&one, "POST", "/v1/actions", &dry).await;
    assert_eq!((&dry["count"], dry["samples"].as_array().unwrap().len()), (&json!(12), 10));
    assert!(dry["samples"][0]["why"].as_str().unwrap().contains("the brake holds it"), "{dry}");
    assert_eq!(commands_of(&bed, &orders[0]).await, 0, "nothing is changed");

    let id = begin(&one, "release", 100.0).await;
    let bulk = ended(&bed, &other, &id).await;
    assert_eq!((&bulk["status"], &bulk["done"], &bulk["left"]), (&json!("done"), &json!(12), &json!(0)), "{bulk}");
    for order in &orders {
        bed.shows(order, "compensated: done, compensated").await;
        assert_eq!(commands_of(&bed, order).await, 1);
    }
    let refunds = heard(&mut service).await.into_iter().filter(|body| body["type"] == "Refund").count();
    assert_eq!(refunds, 13);
    let result = &bulk["results"][0];
    assert_eq!((&result["outcome"], &result["sequence"]), (&json!("done"), &json!(3)));
    let trail = call(&one, "GET", "/v1/journal?kind=command&actor=ann", &Value::Null).await;
    assert_eq!(trail["entries"].as_array().unwrap().len(), 12);
    assert_eq!(trail["entries"][0]["reason"], "it is back");
    // The brake is as it was, and none of them counts.
    assert_eq!(bed.truth.saga_states().await.unwrap()["order"].brake.turned.iter().map(|it| it.1).sum::<u32>(), 1);
    one.stop().await;
    other.stop().await;
}

#[tokio::test]
async fn a_crash_between_acting_and_writing_it_down_repeats_nothing() {
    let bed = Bed::new(&["shop"]).await;
    let running = bed.run(&saga(1)).await;
    let orders = held(&bed, &running, 3).await;
    let escrow = Arc::clone(&running.escrow);
    // Nothing but a note could be given twice to these orders.
    let id = begin(&running, "note", 0.01).await;
    bed.until("the first is done", async || (shown(&running, &id).await["done"] == 1).then_some(())).await;
    running.stop().await;

    bed.clock.advance(Span::from_secs(200));
    let BulkTurn::Order(task) = bed.truth.claim_bulk(Uuid::new_v4(), Span::from_secs(15)).await.unwrap() else {
        panic!("the second is due")
    };
    let ask = Ask {
        key: task.key.clone(),
        action: task.ask.action,
        step: None,
        actor: task.ask.actor.clone(),
        reason: task.ask.reason.clone(),
        idempotency_key: Some(task.once.clone()),
    };
    let sequence = Commands::new(escrow, 1 << 20).act(ask).await.unwrap();
    // Here it dies.
    let next = bed.start(true).await;
    let bulk = bed.until("another carries it on", async || {
        bed.clock.advance(Span::from_secs(10));
        let bulk = shown(&next, &id).await;
        (bulk["status"] == "done").then_some(bulk)
    });
    let bulk = bulk.await;
    assert_eq!((&bulk["done"], &bulk["per_second"]), (&json!(3), &json!(0.01)), "{bulk}");
    let result = bulk["results"].as_array().unwrap().iter().find(|it| it["order_id"] == task.key.order_id.as_str());
    assert_eq!(result.unwrap()["sequence"], sequence);
    for order in &orders {
        assert_eq!(commands_of(&bed, order).await, 1, "{order}");
    }
    next.stop().await;
}

#[tokio::test]
async fn an_order_that_changed_meanwhile_is_left_alone_and_a_stop_leaves_the_rest() {
    let bed = Bed::new(&["shop"]).await;
    let running = bed.run(&saga(1)).await;
    let orders = held(&bed, &running, 4).await;
    let id = begin(&running, "close", 0.01).await;
    bed.until("the first is done", async || (shown(&running, &id).await["done"] == 1).then_some(())).await;
    let second = shown(&running, &id).await["results"][1]["order_id"].as_str().unwrap().to_owned();
    bed.event("Paid", &second);
    bed.shows(&second, "completed: done, done").await;
    bed.clock.advance(Span::from_secs(101));
    bed.until("the second is refused", async || (shown(&running, &id).await["refused"] == 1).then_some(())).await;
    let bulk = shown(&running, &id).await;
    assert!(bulk["results"][1]["detail"].as_str().unwrap().contains("not what the filter names"), "{bulk}");
    let stop = format!("/v1/actions/{id}/stop");
    let stopped = call(&running, "POST", &stop, &json!({"reason": "the wrong ones"})).await;
    assert_eq!(
        (&stopped["status"], &stopped["stopped_by"], &stopped["left"]),
        (&json!("stopped"), &json!("ann"), &json!(2))
    );
    let mut closed = 0;
    for order in &orders {
        closed += usize::from(bed.order("order", order).await.unwrap().life.status.word() == "closed");
    }
    assert_eq!(closed, 1);
    assert_eq!(bed.truth.find_order(key("order", &second)).await.unwrap().unwrap().life.status.word(), "completed");
    running.stop().await;
}

#[tokio::test]
async fn what_does_not_fit_an_order_is_its_result_in_the_words_of_the_conflict() {
    let bed = Bed::new(&["shop"]).await;
    let running = bed.run(&saga(1)).await;
    held(&bed, &running, 2).await;
    call(&running, "PUT", "/v1/sagas/order/mode", &json!({"mode": "observe", "reason": "a try"})).await;
    let id = begin(&running, "release", 100.0).await;
    let bulk = ended(&bed, &running, &id).await;
    assert_eq!((&bulk["refused"], &bulk["done"]), (&json!(2), &json!(0)));
    assert!(bulk["results"][0]["detail"].as_str().unwrap().contains("in mode observe"), "{bulk}");
    running.stop().await;
}
