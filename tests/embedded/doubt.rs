//! Rule 8 through the whole program: what may have been missed holds back what would be asked.

use std::time::Duration;

use escrow::bus::memory::Kind;
use escrow::saga::order::DoubtKind;
use escrow::saga::time::Span;
use escrow::worker::definitions;
use serde_json::json;
use sqlx::{ConnectOptions as _, Connection as _};

use super::bed::{Bed, ORDER, TAP, commands};

const PAST: Span = Span::from_secs(31);

fn over_two() -> String {
    ORDER.replace("[{ exchange: shop }]", "[{ exchange: shop }, { exchange: late }]")
}

/// Waits until the looks know an exchange so.
async fn bound(bed: &Bed, exchange: &str, bound: bool) {
    bed.until("the looks know it", async || {
        let rows = bed.truth.bindings(TAP.to_owned()).await.unwrap();
        rows.iter().any(|row| row.exchange == exchange && row.bound == bound).then_some(())
    })
    .await;
}

#[tokio::test]
async fn an_exchange_that_appears_between_two_looks_leaves_the_open_orders_unproven() {
    let bed = Bed::new(&["shop"]).await;
    let _service = bed.listen("refunds", "shop");
    let running = bed.run(&over_two()).await;
    bound(&bed, "late", false).await;
    bed.event("Placed", "before");
    bed.shows("before", "running: done, waiting").await;
    bed.clock.advance(Span::from_secs(1));
    bed.bus.declare_exchange("late", Kind::Fanout);
    bound(&bed, "late", true).await;
    let doubts = bed.truth.doubts(10).await.unwrap();
    assert_eq!(doubts.iter().map(|doubt| doubt.kind).collect::<Vec<_>>(), [DoubtKind::Gap]);
    // An order that begins before the watermark has passed the gap may have lost a message in it.
    bed.drained(&running).await;
    bed.event("Placed", "after");
    bed.shows("after", "running: done, waiting").await;
    bed.pass(&running, PAST).await;
    bed.shows("before", "stuck (unproven): done, timed_out").await;
    bed.shows("after", "compensated: done, compensated").await;
    running.stop().await;
}

#[tokio::test]
async fn an_absent_exchange_holds_no_deadline_longer_than_a_look() {
    let bed = Bed::new(&["shop"]).await;
    let _service = bed.listen("refunds", "shop");
    let running = bed.run(&over_two()).await;
    bound(&bed, "late", false).await;
    bed.event("Placed", "1");
    bed.shows("1", "running: done, waiting").await;
    bed.pass(&running, PAST).await;
    bed.shows("1", "compensated: done, compensated").await;
    assert!(bed.truth.doubts(10).await.unwrap().is_empty());
    running.stop().await;
}

#[tokio::test]
async fn a_dropped_message_takes_its_doubt_along_and_the_order_waits_anew() {
    let bed = Bed::new(&["shop"]).await;
    let _service = bed.listen("refunds", "shop");
    let running = bed.run(ORDER).await;
    bed.event("Placed", "1");
    bed.shows("1", "running: done, waiting").await;
    bed.say(Some("x"), &json!({"type": "Paid", "order": 1.5}));
    let row = bed.quarantined(1).await.remove(0);
    assert_eq!((row.reason.as_str(), row.event.as_deref(), row.order_id), ("bad_order_id", Some("Paid"), None));
    bed.pass(&running, PAST).await;
    bed.shows("1", "stuck (unproven): done, timed_out").await;
    commands(&running).drop_quarantined(row.id, "ann".into(), "a test of theirs".into()).await.unwrap();
    bed.shows("1", "running: done, waiting").await;
    bed.pass(&running, PAST).await;
    bed.shows("1", "compensated: done, compensated").await;
    running.stop().await;
}

#[tokio::test]
async fn a_step_that_alerts_waits_anew_too_when_its_doubt_goes() {
    let bed = Bed::new(&["shop"]).await;
    let running = bed.run(&ORDER.replace("on_timeout: compensate", "on_timeout: alert")).await;
    bed.event("Placed", "1");
    bed.shows("1", "running: done, waiting").await;
    bed.say(Some("x"), &json!({"type": "Paid", "order": ""}));
    let row = bed.quarantined(1).await.remove(0);
    bed.pass(&running, PAST).await;
    bed.shows("1", "stuck (timed_out): done, timed_out").await;
    commands(&running).drop_quarantined(row.id, "ann".into(), "empty".into()).await.unwrap();
    bed.shows("1", "running: done, waiting").await;
    running.stop().await;
}

#[tokio::test]
async fn a_message_is_replayed_once_a_newer_definition_reads_it() {
    let bed = Bed::new(&["shop"]).await;
    let running = bed.run(ORDER).await;
    bed.event("Placed", "1");
    bed.shows("1", "running: done, waiting").await;
    bed.say(Some("x"), &json!({"type": "Paid", "ref": "1"}));
    let row = bed.quarantined(1).await.remove(0);
    let replay = async || commands(&running).replay(row.id, None, "ann".into(), "mended".into()).await;
    assert!(replay().await.is_err(), "it still cannot be read");
    bed.propose(&ORDER.replace("version: 1", "version: 2").replace("order_id: /order", "order_id: [/order, /ref]"))
        .await;
    definitions::refresh(&running.escrow).await.unwrap();
    let followed = async || (running.escrow.catalog().newest("order")?.version == 2).then_some(());
    bed.until("the new version is followed", followed).await;
    // The order is pinned to version 1, which still cannot read it: the doubt must not go.
    let refused = replay().await.unwrap_err().to_string();
    assert!(refused.contains("reaches no order"), "{refused}");
    assert_eq!((bed.quarantine().await.len(), bed.truth.doubts(10).await.unwrap().len()), (1, 1));
    bed.say(Some("y"), &json!({"type": "Placed", "ref": "2"}));
    bed.shows("2", "running: done, waiting").await;
    let strange = json!({"type": "Paid", "ref": 2.5});
    bed.say(Some("z"), &strange);
    let other = bed.quarantined(2).await.remove(0);
    let numbers = ORDER.replace("version: 1", "version: 3").replace("order_id: /order", "order_id: [/order, /no]");
    bed.propose(&numbers.replace("/no]", "property:message_id]")).await;
    definitions::refresh(&running.escrow).await.unwrap();
    let followed = async || (running.escrow.catalog().newest("order")?.version == 3).then_some(());
    bed.until("the newest version is followed", followed).await;
    commands(&running).replay(other.id, None, "ann".into(), "mended".into()).await.unwrap();
    assert_eq!(bed.quarantine().await.len(), 1);
    bed.shows("z", "completed: waiting, done").await;
    assert_eq!(bed.truth.doubts(10).await.unwrap().len(), 1, "one message, one doubt");
    running.stop().await;
}

#[tokio::test]
async fn a_message_without_an_order_id_is_replayed_to_the_order_a_person_names() {
    let bed = Bed::new(&["shop"]).await;
    let running = bed.run(ORDER).await;
    bed.event("Placed", "1");
    bed.shows("1", "running: done, waiting").await;
    bed.say(Some("none"), &json!({"type": "Paid"}));
    bed.say(Some("bad"), &json!({"type": "Placed", "order": 2.5}));
    let rows = bed.quarantined(2).await;
    let reasons: Vec<&str> = rows.iter().rev().map(|row| row.reason.as_str()).collect();
    assert_eq!(reasons, ["no_order_id", "bad_order_id"]);
    let replay = async |ix: usize, order_id: Option<&str>| {
        let order_id = order_id.map(str::to_owned);
        commands(&running).replay(rows[ix].id, order_id, "ann".into(), "the service told us".into()).await
    };
    assert!(replay(1, None).await.is_err(), "the message still does not say");
    replay(1, Some("1")).await.unwrap();
    bed.shows("1", "completed: done, done").await;
    replay(0, Some("2")).await.unwrap();
    bed.shows("2", "running: done, waiting").await;
    assert!(bed.quarantine().await.is_empty() && bed.truth.doubts(10).await.unwrap().is_empty());
    running.stop().await;
}

#[tokio::test]
async fn an_unplaced_answer_is_replayed_to_the_order_a_person_names() {
    let bed = Bed::new(&["shop"]).await;
    let running = bed.run(&ORDER.replace("order_id: /order", "order_id: arrival")).await;
    bed.event("Paid", "");
    let row = bed.quarantined(1).await.remove(0);
    assert_eq!(row.reason, "unplaced");
    bed.event("Placed", "");
    bed.shows("arrival-1", "running: done, waiting").await;
    let named = Some("arrival-1".to_owned());
    assert!(commands(&running).replay(row.id, None, "ann".into(), "?".into()).await.is_err());
    commands(&running).replay(row.id, named, "ann".into(), "it is this one".into()).await.unwrap();
    bed.shows("arrival-1", "completed: done, done").await;
    assert!(!bed.order("order", "arrival-1").await.unwrap().steps[1].inferred, "a person said so");
    running.stop().await;
}

#[tokio::test]
async fn a_database_set_back_is_a_gap() {
    let bed = Bed::new(&["shop"]).await;
    let running = bed.run(ORDER).await;
    bed.event("Placed", "1");
    bed.shows("1", "running: done, waiting").await;
    bed.drained(&running).await;
    // Long enough for the pulse to have seen what is stored.
    bed.drained(&running).await;
    let mut past = bed.url.parse::<sqlx::sqlite::SqliteConnectOptions>().unwrap().connect().await.unwrap();
    let back = sqlx::query("UPDATE taps SET watermark = watermark - 60000000 WHERE name = ?1").bind(TAP);
    assert_eq!(back.execute(&mut past).await.unwrap().rows_affected(), 1);
    past.close().await.unwrap();
    let gap = bed
        .until("the loss is noticed", async || {
            running.escrow.nudges.armed.notify_one();
            bed.truth.doubts(10).await.unwrap().into_iter().next()
        })
        .await;
    assert_eq!((gap.kind, gap.saga), (DoubtKind::Gap, None));
    bed.pass(&running, PAST).await;
    bed.shows("1", "stuck (unproven): done, timed_out").await;
    tokio::time::timeout(Duration::from_secs(30), running.stop()).await.unwrap();
}
