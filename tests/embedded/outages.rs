//! The database away, deaf, or refusing: nothing is lost, nothing is applied twice, nothing else suffers.

use std::sync::atomic::Ordering;

use escrow::bus::memory::{Kind, MemoryBus};
use escrow::bus::{Envelope, Tap as _, Wanted};
use escrow::saga::time::Span;
use escrow::telemetry::ClassLabel;
use serde_json::json;

use super::bed::{Bed, ORDER, TAP};
use super::faulty::POISON;

#[tokio::test]
async fn what_comes_while_the_database_is_away_waits_in_the_tap() {
    let bed = Bed::new(&["shop"]).await;
    let running = bed.run(ORDER).await;
    bed.event("Placed", "before");
    bed.shows("before", "running: done, waiting").await;
    bed.set_away(true);
    for order in ["1", "2", "3"] {
        bed.event("Placed", order);
    }
    bed.until("the batch is in hand", async || (bed.bus.depth(TAP) == Some(0)).then_some(())).await;
    bed.until("the tap is let go, and holds all again", async || (bed.bus.depth(TAP)? >= 3).then_some(())).await;
    bed.event("Paid", "1");
    bed.set_away(false);
    bed.shows("1", "completed: done, done").await;
    bed.shows("3", "running: done, waiting").await;
    assert_eq!(bed.kinds("2").await, ["event"]);
    let unavailable = ClassLabel { class: "unavailable" };
    assert!(running.escrow.metrics.db_retries.get_or_create(&unavailable).get() > 0);
    let metrics = running.escrow.metrics.encode().unwrap();
    let restarts =
        metrics.lines().find_map(|it| it.strip_prefix("escrow_consumer_restarts_total{reason=\"database\"} "));
    assert!(restarts.is_some_and(|it| it != "0"), "{metrics}");
    running.stop().await;
}

#[tokio::test]
async fn what_was_committed_without_an_answer_is_applied_once_when_it_comes_again() {
    let bed = Bed::new(&["shop"]).await;
    let running = bed.run(&ORDER.replace("order_id: /order", "order_id: arrival")).await;
    bed.faults.deaf.store(true, Ordering::SeqCst);
    // Without an id, and all alike.
    for _ in 0..3 {
        bed.say(None, &json!({"type": "Placed"}));
    }
    bed.say(None, &json!({"type": "Paid"}));
    bed.shows("arrival-1", "completed: done, done").await;
    bed.until("the tap is let go, and holds all again", async || (bed.bus.depth(TAP)? >= 4).then_some(())).await;
    bed.faults.deaf.store(false, Ordering::SeqCst);
    bed.say(None, &json!({"type": "Paid"}));
    bed.shows("arrival-2", "completed: done, done").await;
    bed.drained(&running).await;
    bed.shows("arrival-3", "running: done, waiting").await;
    assert_eq!(bed.shown("arrival-4").await, "absent");
    assert!(bed.quarantine().await.is_empty());
    running.stop().await;
}

#[tokio::test]
async fn one_order_the_database_refuses_fails_no_other() {
    let bed = Bed::new(&["shop"]).await;
    bed.propose(ORDER).await;
    let running = bed.run(ORDER).await;
    // All of them in one batch: they wait in the tap until the database is back.
    bed.set_away(true);
    bed.faults.refuses_poison.store(true, Ordering::SeqCst);
    for order in ["1", "2", POISON, "3", "4"] {
        bed.event("Placed", order);
    }
    bed.set_away(false);
    for order in ["1", "2", "3", "4"] {
        bed.shows(order, "running: done, waiting").await;
    }
    let row = bed.quarantined(1).await.remove(0);
    assert_eq!((row.reason.as_str(), row.order_id.as_deref()), ("refused", Some(POISON)));
    assert_eq!(bed.shown(POISON).await, "absent");
    // Mended: it is replayed.
    bed.faults.refuses_poison.store(false, Ordering::SeqCst);
    let commands = super::bed::commands(&running);
    commands.replay(row.id, None, "ann".into(), "mended".into()).await.unwrap();
    bed.shows(POISON, "running: done, waiting").await;
    running.stop().await;
}

#[tokio::test]
async fn a_deadline_the_database_refuses_holds_up_no_other() {
    let bed = Bed::new(&["shop"]).await;
    let _service = bed.listen("refunds", "shop");
    let running = bed.run(ORDER).await;
    bed.event("Placed", POISON);
    bed.shows(POISON, "running: done, waiting").await;
    for order in ["1", "2", "3"] {
        bed.event("Placed", order);
        bed.shows(order, "running: done, waiting").await;
    }
    bed.faults.refuses_poison.store(true, Ordering::SeqCst);
    bed.pass(&running, Span::from_secs(31)).await;
    for order in ["1", "2", "3"] {
        bed.shows(order, "compensated: done, compensated").await;
    }
    assert!(bed.faults.refused.load(Ordering::SeqCst) > 0);
    assert_eq!(bed.shown(POISON).await, "running: done, waiting");
    bed.faults.refuses_poison.store(false, Ordering::SeqCst);
    bed.shows(POISON, "compensated: done, compensated").await;
    running.stop().await;
}

#[tokio::test]
async fn a_message_the_program_breaks_over_is_quarantined_and_the_loops_go_on() {
    let bed = Bed::new(&["shop"]).await;
    let _service = bed.listen("refunds", "shop");
    let running = bed.run(ORDER).await;
    bed.event("Placed", POISON);
    bed.shows(POISON, "running: done, waiting").await;
    bed.event("Placed", "1");
    bed.shows("1", "running: done, waiting").await;
    bed.faults.breaks_on_poison.store(true, Ordering::SeqCst);
    bed.event("Paid", POISON);
    bed.event("Placed", "2");
    bed.shows("2", "running: done, waiting").await;
    let row = bed.quarantined(1).await.remove(0);
    assert!(row.detail.contains("the program breaks"), "{}", row.detail);
    // The deadline of the one breaks too, and that of the other fires.
    bed.pass(&running, Span::from_secs(31)).await;
    bed.shows("1", "compensated: done, compensated").await;
    bed.faults.breaks_on_poison.store(false, Ordering::SeqCst);
    bed.shows(POISON, "stuck (unproven): done, timed_out").await;
    super::bed::commands(&running).replay(row.id, None, "ann".into(), "mended".into()).await.unwrap();
    bed.shows(POISON, "completed: done, done").await;
    running.stop().await;
}

#[tokio::test]
async fn a_batch_says_whether_anything_in_it_is_new() {
    let bus = MemoryBus::default();
    bus.declare_exchange("shop", Kind::Fanout);
    let tap = bus.tap("test");
    tap.look(vec![Wanted { exchange: "shop".to_owned(), ..Wanted::default() }]).await.unwrap();
    let say = || bus.send("shop", "", Envelope::default(), b"{}".to_vec());
    say();
    let mut source = tap.source().await.unwrap();
    assert!(source.next_batch().await.unwrap().is_fresh);
    // It was not acknowledged: it comes again, alone, and then with something new behind it.
    let mut source = tap.source().await.unwrap();
    let again = source.next_batch().await.unwrap();
    assert!(!again.is_fresh);
    drop(again);
    say();
    let mut source = tap.source().await.unwrap();
    let both = source.next_batch().await.unwrap();
    assert_eq!((both.items.len(), both.is_fresh), (2, true));
}
