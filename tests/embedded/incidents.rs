//! Incidents of a whole Escrow: what people see and are told, and when it ends.

use std::time::{Duration, Instant};

use escrow::app::Running;
use escrow::saga::input::Action;
use escrow::saga::time::Span;
use serde_json::{Value, json};

use super::bed::{Bed, ORDER, act};
use super::http::call;

/// Ten thousand orders take their time on a machine that is busy.
const LONG: Duration = Duration::from_mins(8);

/// Paid within 30 s, or a person looks.
fn alerting() -> String {
    let from = ORDER.find("    on_timeout").unwrap();
    ORDER[..from].to_owned()
}

async fn bed(definition: &str) -> (Bed, Running) {
    let bed = Bed::new(&["shop"]).await;
    bed.channels.lock().unwrap().push("pager".to_owned());
    let running = bed.run(definition).await;
    (bed, running)
}

async fn of_cause(running: &Running, cause: &str) -> Vec<Value> {
    let list = call(running, "GET", &format!("/v1/incidents?status=all&cause={cause}"), &Value::Null).await;
    list["incidents"].as_array().unwrap().clone()
}

/// Waits until the only incident of this cause is so.
async fn until(running: &Running, cause: &str, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
    let deadline = Instant::now() + LONG;
    loop {
        let found = of_cause(running, cause).await;
        assert!(found.len() < 2, "{cause} is one: {found:?}");
        if let Some(incident) = found.first().filter(|it| holds(it)) {
            return incident.clone();
        }
        assert!(Instant::now() < deadline, "{cause} never {what}: {found:?}");
        running.escrow.nudges.stuck.notify_one();
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn place(bed: &Bed, orders: u32) {
    for order in 0..orders {
        bed.event("Placed", &order.to_string());
    }
    let deadline = Instant::now() + LONG;
    loop {
        let counts = bed.truth.count_by_status().await.unwrap();
        if counts.iter().map(|it| it.count).sum::<u64>() == u64::from(orders) {
            return;
        }
        assert!(Instant::now() < deadline, "the orders were never placed: {counts:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_orders_without_an_answer_are_one_incident() {
    let (bed, running) = bed(&alerting()).await;
    let began = bed.clock_now();
    place(&bed, 10_000).await;
    bed.pass(&running, Span::from_secs(31)).await;
    let incident = until(&running, "timed_out", "held them all up", |it| it["count"] == 10_000).await;
    assert_eq!(
        (&incident["saga"], &incident["step"], &incident["peak"]),
        (&json!("order"), &json!("paid"), &json!(10_000))
    );
    assert_eq!(incident["samples"].as_array().unwrap().len(), 10);
    let (first, last) = (incident["first_at"].as_str().unwrap(), incident["last_at"].as_str().unwrap());
    assert!(began.rfc3339().as_str() < first && first <= last, "{incident}");
    let why = incident["why"].as_str().unwrap();
    assert!(why.contains("10000 orders") && why.contains("Paid did not come in time"), "{why}");
    let open = call(&running, "GET", "/v1/incidents?saga=order", &Value::Null).await;
    assert_eq!(open["incidents"].as_array().unwrap().len(), 1, "{open}");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_incident_is_told_once_acknowledged_over_by_itself_and_another_one_when_it_comes_again() {
    let (bed, running) = bed(&alerting()).await;
    place(&bed, 7).await;
    bed.pass(&running, Span::from_secs(31)).await;
    let incident = until(&running, "timed_out", "opened", |it| it["count"] == 7).await;
    let (id, told) = (incident["id"].as_str().unwrap(), &incident["told"]);
    assert_eq!(told, &json!(0), "something else may explain it: {incident}");
    bed.pass(&running, Span::from_secs(31)).await;
    let told = until(&running, "timed_out", "was told", |it| it["told"] == 1).await;
    assert_eq!(told["told_to"], json!(["pager"]));
    let its = call(&running, "GET", &format!("/v1/orders?incident={id}"), &Value::Null).await;
    assert_eq!(its["orders"].as_array().unwrap().len(), 7);
    assert_eq!(its["orders"][0]["stuck"]["incident"], json!(id));

    let path = format!("/v1/incidents/{id}/ack");
    let acked = call(&running, "POST", &path, &json!({"reason": "on it"})).await;
    assert_eq!((&acked["acked_by"], &acked["acked_reason"]), (&json!("ann"), &json!("on it")));
    bed.event("Placed", "late");
    bed.shows("late", "running: done, waiting").await;
    bed.pass(&running, Span::from_secs(400)).await;
    let grown = until(&running, "timed_out", "grew", |it| it["count"] == 8).await;
    assert_eq!((&grown["told"], &grown["acked_by"]), (&json!(1), &json!("ann")), "people know");

    for order in ["0", "1", "2", "3", "4", "5", "6", "late"] {
        bed.event("Paid", order);
    }
    until(&running, "timed_out", "calmed", |it| !it["calm_since"].is_null()).await;
    bed.pass(&running, Span::from_secs(301)).await;
    let over = until(&running, "timed_out", "ended", |it| it["status"] == "resolved").await;
    assert_eq!((&over["told"], &over["peak"], &over["resolved_at"]), (&json!(2), &json!(8), &over["calm_since"]));

    bed.event("Placed", "again");
    bed.shows("again", "running: done, waiting").await;
    bed.pass(&running, Span::from_secs(31)).await;
    let path = format!("/v1/incidents/{id}");
    let again = bed.until("the next episode began", async || {
        let shown = call(&running, "GET", &path, &Value::Null).await;
        (shown["episode"] == 2).then_some(shown)
    });
    let again = again.await;
    assert_eq!((&again["status"], &again["acked_by"]), (&json!("open"), &Value::Null));
    assert_eq!(again["episodes"][0]["peak"], 8);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_step_on_which_orders_go_on_without_an_answer_stalls() {
    let (bed, running) = bed(&ORDER.replace("steps:", "brake: none\nsteps:")).await;
    let _service = bed.listen("refunds", "shop");
    place(&bed, 25).await;
    bed.pass(&running, Span::from_secs(31)).await;
    let incident = until(&running, "step_stalled", "opened", |it| it["count"] == 25).await;
    assert_eq!((&incident["step"], &incident["status"]), (&json!("paid"), &json!("open")));
    assert!(incident["why"].as_str().unwrap().contains("timed out in step `paid`"), "{incident}");
    bed.pass(&running, Span::from_secs(700)).await;
    until(&running, "step_stalled", "calmed", |it| !it["calm_since"].is_null()).await;
    bed.pass(&running, Span::from_secs(301)).await;
    until(&running, "step_stalled", "ended", |it| it["status"] == "resolved").await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_bus_is_away_nothing_else_is_told_and_what_outlasts_it_is_told_then() {
    let (bed, running) = bed(&alerting()).await;
    place(&bed, 5).await;
    bed.bus.set_up(false);
    let away = until(&running, "broker_away", "opened", |it| it["told"] == 1).await;
    bed.bus.set_up(true);
    bed.pass(&running, Span::from_secs(31)).await;
    let child = until(&running, "timed_out", "opened", |it| it["count"] == 5).await;
    assert_eq!(child["parent"], away["id"]);
    bed.pass(&running, Span::from_secs(60)).await;
    until(&running, "broker_away", "calmed", |it| !it["calm_since"].is_null()).await;
    let child = of_cause(&running, "timed_out").await.remove(0);
    assert_eq!((&child["told"], &child["parent"]), (&json!(0), &away["id"]), "it is explained");
    bed.pass(&running, Span::from_secs(301)).await;
    let over = until(&running, "broker_away", "ended", |it| it["status"] == "resolved").await;
    assert_eq!(over["told"], 2);
    let outlasts = until(&running, "timed_out", "was told", |it| it["told"] == 1).await;
    assert_eq!(outlasts["parent"], Value::Null);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_answers_nobody_is_silent_and_its_orders_are_told_of_once() {
    let (bed, running) = bed(&alerting()).await;
    for order in 0..10 {
        bed.event("Placed", &order.to_string());
        bed.shows(&order.to_string(), "running: done, waiting").await;
        bed.pass(&running, Span::from_secs(20)).await;
    }
    let silent = until(&running, "service_silent", "opened", |it| it["status"] == "open").await;
    assert_eq!((&silent["count"], &silent["step"]), (&json!(10), &json!("paid")));
    assert!(silent["why"].as_str().unwrap().contains("nothing of Paid was seen for"), "{silent}");
    until(&running, "timed_out", "was explained", |it| it["parent"] == silent["id"]).await;
    bed.pass(&running, Span::from_secs(40)).await;
    let told = async || {
        let both = [of_cause(&running, "service_silent").await, of_cause(&running, "timed_out").await].concat();
        both.iter().map(|it| it["told"].as_u64().unwrap()).sum::<u64>()
    };
    bed.until("people were told", async || (told().await > 0).then_some(())).await;
    assert_eq!(told().await, 1, "one cause, one alert");
    bed.event("Paid", "9");
    until(&running, "service_silent", "calmed", |it| !it["calm_since"].is_null()).await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_piles_up_in_quarantine_and_what_comes_for_a_closed_order_are_incidents() {
    let (bed, running) = bed(&alerting()).await;
    place(&bed, 1).await;
    act(&running, "0", Action::Close).await.unwrap();
    bed.event("Paid", "0");
    let late = until(&running, "late_on_ended", "opened", |it| it["count"] == 1).await;
    assert_eq!((&late["samples"], &late["saga"]), (&json!(["0"]), &json!("order")));
    for message in 0..25 {
        bed.say(Some(&message.to_string()), &json!({"type": "Placed"}));
    }
    let piled = until(&running, "quarantine", "opened", |it| it["count"] == 25).await;
    assert!(piled["why"].as_str().unwrap().contains("25 messages"), "{piled}");
    running.stop().await;
}
