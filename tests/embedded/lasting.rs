//! Incidents that are found late or outlast their process: a database that was away, orders whose beginning was never seen, a service
//! that is silent while Escrow restarts.

use std::time::{Duration, Instant};

use escrow::app::Running;
use escrow::saga::time::Span;
use serde_json::{Value, json};

use super::bed::{Bed, ORDER};
use super::http::call;

/// Paid within 30 s, or a person looks.
fn alerting() -> String {
    let from = ORDER.find("    on_timeout").unwrap();
    ORDER[..from].to_owned()
}

/// The incidents of a cause, open or over.
async fn of_cause(running: &Running, cause: &str) -> Vec<Value> {
    let list = call(running, "GET", &format!("/v1/incidents?status=all&cause={cause}"), &Value::Null).await;
    list["incidents"].as_array().unwrap().clone()
}

/// Waits until the only incident of a cause is so.
async fn until(bed: &Bed, running: &Running, cause: &str, holds: impl Fn(&Value) -> bool) -> Value {
    bed.until(&format!("{cause} is as it should be"), async || {
        running.escrow.nudges.stuck.notify_one();
        of_cause(running, cause).await.into_iter().find(&holds)
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_was_away_is_written_down_when_it_is_back() {
    let bed = Bed::new(&["shop"]).await;
    let running = bed.run(&alerting()).await;
    // A moment's interruption is none; how long it must last is the process's own time. On a slow machine it is not noticed for long
    // enough at once.
    let mut found = None;
    for seconds in [15, 30, 60, 120] {
        bed.set_away(true);
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(seconds) {
            running.escrow.nudges.stuck.notify_one();
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        bed.set_away(false);
        let back = Instant::now();
        while found.is_none() && back.elapsed() < Duration::from_secs(seconds) {
            running.escrow.nudges.stuck.notify_one();
            found = of_cause(&running, "database_away").await.pop();
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        if found.is_some() {
            break;
        }
    }
    let incident = found.expect("it is written down");
    let why = incident["why"].as_str().unwrap();
    assert!(why.contains("took no writes from") && why.contains("waited in the tap"), "{why}");
    assert_eq!((&incident["count"], &incident["saga"], &incident["status"]), (&json!(0), &json!(""), &json!("open")));
    until(&bed, &running, "database_away", |it| !it["calm_since"].is_null()).await;
    bed.pass(&running, Span::from_secs(301)).await;
    until(&bed, &running, "database_away", |it| it["status"] == "resolved").await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn orders_whose_beginning_was_never_seen_are_one_incident_once_they_are_closed() {
    let bed = Bed::new(&["shop"]).await;
    let shipped = "  shipped: { after: paid, done: Shipped, within: 1h }\n";
    let running = bed.run(&(alerting().replace("steps:", "within: 1m\nsteps:") + shipped)).await;
    for order in ["1", "2", "3"] {
        bed.event("Paid", order);
        bed.shows(order, "running: waiting, done, waiting").await;
    }
    bed.pass(&running, Span::from_secs(61)).await;
    let incident = until(&bed, &running, "never_opened", |it| it["count"] == 3).await;
    assert_eq!(
        (&incident["saga"], &incident["step"], &incident["samples"].as_array().unwrap().len()),
        (&json!("order"), &Value::Null, &3)
    );
    assert!(incident["why"].as_str().unwrap().contains("their beginning was never seen"), "{incident}");
    for order in ["1", "2", "3"] {
        assert!(bed.shown(order).await.starts_with("closed"), "{}", bed.shown(order).await);
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_is_silent_is_so_after_a_restart_too_until_it_answers() {
    let bed = Bed::new(&["shop"]).await;
    let running = bed.run(&alerting()).await;
    for order in 0..10 {
        bed.event("Placed", &order.to_string());
        bed.shows(&order.to_string(), "running: done, waiting").await;
        bed.pass(&running, Span::from_secs(20)).await;
    }
    let silent = until(&bed, &running, "service_silent", |it| it["status"] == "open").await;
    let stuck = until(&bed, &running, "timed_out", |it| it["count"].as_u64() > Some(0)).await["count"].as_u64();
    running.stop().await;

    // The new process has heard nothing of the service, and does not take that for an answer.
    let running = bed.start(true).await;
    bed.event("Placed", "after");
    bed.shows("after", "running: done, waiting").await;
    bed.pass(&running, Span::from_secs(31)).await;
    bed.drained(&running).await;
    until(&bed, &running, "timed_out", |it| it["count"].as_u64() > stuck).await;
    let kept = until(&bed, &running, "service_silent", |_| true).await;
    assert_eq!(
        (&kept["id"], &kept["episode"], &kept["status"], &kept["calm_since"]),
        (&silent["id"], &json!(1), &json!("open"), &Value::Null)
    );
    bed.event("Paid", "9");
    until(&bed, &running, "service_silent", |it| !it["calm_since"].is_null()).await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_asks_the_doctor_beside_another_gets_the_same_look() {
    let bed = Bed::new(&["shop"]).await;
    let running = bed.run(&alerting()).await;
    let ask = async || call(&running, "GET", "/v1/doctor", &Value::Null).await;
    let (one, other) = tokio::join!(ask(), ask());
    assert_eq!(one, other);
    let findings = one["findings"].as_array().unwrap();
    let found = |area: &str, part: &str| {
        findings.iter().any(|it| it["area"] == area && it["what"].as_str().unwrap().contains(part))
    };
    assert!(found("database", "SQLite") && found("database", "the tables are at version"), "{one}");
    assert!(found("watched", "shop was bound"), "{one}");
    assert_eq!((&one["problems"], &findings[0]["level"]), (&json!(0), &json!("ok")), "{one}");
    running.stop().await;
}
