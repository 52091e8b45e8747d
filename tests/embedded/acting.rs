//! What Escrow asks of services, and what holds it.

use escrow::saga::definition::Mode;
use escrow::saga::input::Action;
use escrow::saga::time::Span;

use super::bed::{Bed, ORDER, act, heard};

const PAST: Span = Span::from_secs(31);

#[tokio::test]
async fn own_messages_seen_in_the_tap_change_nothing() {
    let bed = Bed::new(&["shop"]).await;
    let mut service = bed.listen("refunds", "shop");
    // Taken for an event of the order, it would be the late answer.
    let running = bed.run(&ORDER.replace("type: Refund", "type: Paid")).await;
    bed.event("Placed", "1");
    bed.shows("1", "running: done, waiting").await;
    bed.pass(&running, PAST).await;
    bed.shows("1", "compensated: done, compensated").await;
    bed.drained(&running).await;
    let kinds = bed.kinds("1").await;
    assert_eq!(kinds, ["event", "deadline", "compensation", "confirmation"]);
    assert_eq!(bed.order("order", "1").await.unwrap().duplicates, 0);
    assert!(bed.quarantine().await.is_empty());
    let bodies = heard(&mut service).await;
    assert_eq!(bodies.iter().filter(|body| body["type"] == "Paid").count(), 1);
    running.stop().await;
}

#[tokio::test]
async fn observing_asks_nothing_and_says_what_would_be_sent() {
    let bed = Bed::new(&["shop"]).await;
    let mut service = bed.listen("refunds", "shop");
    let running = bed.run(ORDER).await;
    bed.truth.set_mode("order".into(), Mode::Observe, "ann".into(), "a try".into()).await.unwrap();
    bed.event("Placed", "1");
    bed.shows("1", "running: done, waiting").await;
    bed.pass(&running, PAST).await;
    bed.shows("1", "stuck (observe): done, timed_out").await;
    assert!(bed.kinds("1").await.contains(&"would_send"));
    assert!(act(&running, "1", Action::Compensate).await.is_err(), "nor by a person");
    bed.drained(&running).await;
    assert!(heard(&mut service).await.iter().all(|body| body["type"] != "Refund"));
    running.stop().await;
}

#[tokio::test]
async fn the_brake_holds_what_is_too_many_and_a_release_lets_it_go() {
    let bed = Bed::new(&["shop"]).await;
    let _service = bed.listen("refunds", "shop");
    let running = bed.run(&ORDER.replace("steps:", "brake: { orders: 2, per: 1m }\nsteps:")).await;
    for order in ["1", "2", "3"] {
        bed.event("Placed", order);
        bed.shows(order, "running: done, waiting").await;
        bed.pass(&running, Span::from_millis(1)).await;
    }
    bed.pass(&running, PAST).await;
    bed.shows("1", "compensated: done, compensated").await;
    bed.shows("2", "compensated: done, compensated").await;
    bed.shows("3", "stuck (held): done, timed_out").await;
    assert!(bed.truth.saga_states().await.unwrap()["order"].brake.latched_at.is_some());
    act(&running, "3", Action::Release).await.unwrap();
    bed.shows("3", "compensated: done, compensated").await;
    // It stays on until a person takes it off, however long ago that was.
    bed.pass(&running, Span::from_secs(600)).await;
    bed.event("Placed", "4");
    bed.shows("4", "running: done, waiting").await;
    bed.pass(&running, PAST).await;
    bed.shows("4", "stuck (held): done, timed_out").await;
    running.stop().await;
}

#[tokio::test]
async fn a_retry_nobody_would_take_is_withheld_and_counts() {
    let bed = Bed::new(&["shop"]).await;
    let saga =
        ORDER.replace("within: 30s", "within: 30s\n    retry: { times: 2, every: 10s, to: { queue: payments } }");
    let running = bed.run(&saga).await;
    bed.event("Placed", "1");
    bed.shows("1", "running: done, waiting").await;
    bed.pass(&running, PAST).await;
    let attempts = async |count: u32| {
        bed.until("the retry has its word", async || {
            let order = bed.order("order", "1").await?;
            (order.steps[1].attempts == count && order.steps[1].awaiting.is_none()).then_some(())
        })
        .await;
    };
    attempts(1).await;
    assert_eq!(bed.kinds("1").await, ["event", "retry", "withheld"]);
    // Now somebody listens.
    bed.bus.declare_queue("payments");
    assert!(bed.bus.bind("payments", "escrow.retry", "payments"));
    let mut payments = bed.bus.subscribe("payments").unwrap();
    bed.pass(&running, Span::from_secs(11)).await;
    attempts(2).await;
    let again = heard(&mut payments).await;
    assert_eq!((again.len(), again[0]["type"].as_str()), (1, Some("Placed")));
    running.stop().await;
}
