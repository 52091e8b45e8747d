//! The brake, over several replicas and restarts (rule 14).

use escrow::saga::brake::trail_of;
use escrow::saga::input::Action;
use escrow::saga::time::Span;
use serde_json::{Value, json};

use super::bed::{Bed, ORDER, act, heard};
use super::http::call;

const PAST: Span = Span::from_secs(31);

fn saga(brake: &str) -> String {
    ORDER.replace("steps:", &format!("brake: {brake}\nsteps:"))
}

async fn place(bed: &Bed, orders: std::ops::Range<u32>) -> Vec<String> {
    let orders: Vec<String> = orders.map(|it| it.to_string()).collect();
    for order in &orders {
        bed.event("Placed", order);
    }
    for order in &orders {
        bed.shows(order, "running: done, waiting").await;
    }
    orders
}

/// How many of these were turned back and are compensated, once each is that or held.
async fn decided(bed: &Bed, orders: &[String]) -> (usize, usize) {
    bed.until("each order is decided", async || {
        let (mut turned, mut held) = (0, 0);
        for order in orders {
            match bed.shown(order).await.as_str() {
                "compensated: done, compensated" => turned += 1,
                "stuck (held): done, timed_out" => held += 1,
                _ => return None,
            }
        }
        Some((turned, held))
    })
    .await
}

#[tokio::test]
async fn all_replicas_together_turn_no_more_orders_back_than_the_brake_lets() {
    let bed = Bed::new(&["shop"]).await;
    let mut service = bed.listen("refunds", "shop");
    let one = bed.run(&saga("{ orders: 7, per: 1m }")).await;
    let other = bed.start(true).await;
    let orders = place(&bed, 0..30).await;
    bed.pass(&one, PAST).await;
    other.escrow.nudges.watermark.notify_one();
    assert_eq!(decided(&bed, &orders).await, (7, 23));
    let refunds = heard(&mut service).await.into_iter().filter(|body| body["type"] == "Refund").count();
    assert_eq!(refunds, 7);
    let trail = bed.truth.audit(trail_of("order"), 0, 10).await.unwrap();
    assert_eq!(trail.len(), 1, "it latched once: {trail:?}");
    one.stop().await;
    other.stop().await;
}

#[tokio::test]
async fn a_latched_brake_survives_restarts_until_a_person_resets_it() {
    let bed = Bed::new(&["shop"]).await;
    let _service = bed.listen("refunds", "shop");
    let first = bed.run(&saga("{ orders: 2, per: 1m }")).await;
    let orders = place(&bed, 0..5).await;
    bed.pass(&first, PAST).await;
    assert_eq!(decided(&bed, &orders).await, (2, 3));
    first.stop().await;

    let running = bed.start(true).await;
    let status = call(&running, "GET", "/v1/status", &Value::Null).await;
    assert_eq!(status["sagas"][0]["brake"]["counted"], 2);
    assert!(status["sagas"][0]["brake"]["latched_at"].is_string());
    assert!(status["problems"][0].as_str().unwrap().contains("the brake of saga order"), "{status}");
    let held = bed.until("the brake is one incident", async || {
        let list = call(&running, "GET", "/v1/incidents?cause=held", &Value::Null).await;
        let incident = list["incidents"].as_array()?.first()?.clone();
        (incident["count"] == 3).then_some(incident)
    });
    let incident = held.await;
    assert_eq!((&incident["cause"], &incident["step"], &incident["peak"]), (&json!("held"), &Value::Null, &json!(3)));
    let path = format!("/v1/orders?incident={}", incident["id"].as_str().unwrap());
    let its = call(&running, "GET", &path, &Value::Null).await;
    assert_eq!(its["orders"].as_array().unwrap().len(), 3);
    assert_eq!(its["orders"][0]["stuck"]["incident"], incident["id"]);

    let metrics =
        async || reqwest::get(format!("http://{}/metrics", running.address)).await.unwrap().text().await.unwrap();
    bed.until("the metrics say so", async || {
        metrics().await.contains("escrow_brake_latched{saga=\"order\"} 1").then_some(())
    })
    .await;

    // Long after, it holds still.
    bed.pass(&running, Span::from_secs(300)).await;
    let later = place(&bed, 10..12).await;
    bed.pass(&running, PAST).await;
    assert_eq!(decided(&bed, &later).await, (0, 2));

    let reset = json!({"reason": "the payment service is back"});
    let answer = call(&running, "POST", "/v1/sagas/order/brake/reset", &reset).await;
    assert_eq!((&answer["held"], &answer["brake"]["counted"]), (&json!(5), &json!(0)));
    assert!(answer["was_latched_at"].is_string() && answer["brake"]["latched_at"].is_null(), "{answer}");
    let journal = call(&running, "GET", "/v1/journal?kind=command&actor=ann", &Value::Null).await;
    let entry = &journal["entries"][0];
    assert_eq!((&entry["name"], &entry["order_id"]), (&json!("brake_reset"), &Value::Null));
    assert_eq!((&entry["actor"], &entry["reason"]), (&json!("ann"), &reset["reason"]));

    // What was held stays so until a person releases it, and that is not counted; the next ones turn back.
    assert_eq!(decided(&bed, &later).await, (0, 2));
    for order in &later {
        act(&running, order, Action::Release).await.unwrap();
    }
    assert_eq!(decided(&bed, &later).await, (2, 0));
    let next = place(&bed, 20..22).await;
    bed.pass(&running, PAST).await;
    assert_eq!(decided(&bed, &next).await, (2, 0));
    running.stop().await;
}

#[tokio::test]
async fn a_definition_may_have_no_brake_or_the_usual_one() {
    for (brake, turned) in [("none", 60), ("{ orders: 50, per: 1m }", 50)] {
        let bed = Bed::new(&["shop"]).await;
        let _service = bed.listen("refunds", "shop");
        let text = if brake == "none" { saga(brake) } else { ORDER.to_owned() };
        let running = bed.run(&text).await;
        let orders = place(&bed, 0..60).await;
        bed.pass(&running, PAST).await;
        assert_eq!(decided(&bed, &orders).await, (turned, 60 - turned), "{brake}");
        running.stop().await;
    }
}

#[tokio::test]
async fn a_held_order_recovers_by_a_late_answer_under_a_latched_brake() {
    let bed = Bed::new(&["shop"]).await;
    let running = bed.run(&saga("{ orders: 1, per: 1m }")).await;
    let orders = place(&bed, 0..3).await;
    bed.pass(&running, PAST).await;
    let held = bed.until("two are held", async || {
        let mut held = Vec::new();
        for order in &orders {
            if bed.shown(order).await == "stuck (held): done, timed_out" {
                held.push(order.clone());
            }
        }
        (held.len() == 2).then_some(held)
    });
    for order in held.await {
        bed.event("Paid", &order);
        bed.shows(&order, "completed: done, done").await;
    }
    running.stop().await;
}
