//! Open orders move to another version: rehearsed, done, repeated, and refused.

use escrow::app::Running;
use escrow::saga::migration::{Migration, MigrationAnswer, MigrationOutcome};
use escrow::saga::order::Order;
use escrow::saga::time::Span;
use escrow::store::{OrderFilter, Page};
use escrow::worker::commands::CommandError;
use escrow::worker::definitions;
use serde_json::{Value, json};
use std::sync::atomic::Ordering;

use super::bed::{Bed, ORDER, commands, key};

/// The file in another order, with a check before the payment.
const SECOND: &str = r#"
saga: order
version: 2
watch: [{ exchange: shop }]
read: { event: /type, order_id: /order }
steps:
  checked: { after: placed, done: Checked, within: 1m }
  paid:
    after: [placed, checked]
    done: Paid
    within: 5m
    on_timeout: compensate
    compensation:
      publish: { event: Refund, exchange: shop, routing_key: "", body: { type: Refund, order: "{{ order_id }}" } }
  placed: { done: Placed }
"#;

/// An Escrow that followed version 1 and now opens orders on version 2.
async fn two_versions(bed: &Bed, orders: &[&str]) -> Running {
    let running = bed.run(ORDER).await;
    for order in orders {
        bed.event("Placed", order);
        bed.shows(order, "running: done, waiting").await;
    }
    bed.propose(SECOND).await;
    definitions::refresh(&running.escrow).await.unwrap();
    bed.until("version 2 opens orders", async || {
        (running.escrow.catalog().newest("order").unwrap().version == 2).then_some(())
    })
    .await;
    running
}

fn migration(dry_run: bool) -> Migration {
    let (actor, reason) = ("ann".to_owned(), "mended".to_owned());
    Migration { from: 1, to: 2, rearm: false, dry_run, actor, reason }
}

async fn migrate(
    running: &Running,
    migration: Migration,
    filter: OrderFilter,
) -> Result<Vec<MigrationAnswer>, CommandError> {
    let page = Page { limit: 500, cursor: None };
    commands(running).migrate("order".to_owned(), migration, filter, page).await.map(|listed| listed.items)
}

fn is_moved(answer: &MigrationAnswer) -> bool {
    matches!(answer.outcome, MigrationOutcome::Moved { .. })
}

async fn orders(bed: &Bed) -> Vec<Order> {
    let page = Page { limit: 500, cursor: None };
    bed.truth.list_orders(OrderFilter::default(), page).await.unwrap().items
}

async fn get(running: &Running, path: &str) -> Value {
    reqwest::get(format!("http://{}{path}", running.address)).await.unwrap().json().await.unwrap()
}

#[tokio::test]
async fn a_dry_run_says_what_a_move_does_and_changes_nothing() {
    let bed = Bed::new(&["shop"]).await;
    let running = two_versions(&bed, &["1", "2"]).await;
    let before = orders(&bed).await;
    let said = migrate(&running, migration(true), OrderFilter::default()).await.unwrap();
    assert_eq!((said.len(), orders(&bed).await), (2, before));
    assert!(bed.truth.doubts(10).await.unwrap().is_empty());
    let done = migrate(&running, migration(false), OrderFilter::default()).await.unwrap();
    assert_eq!(done, said, "at the same moment the rehearsal is the play");
    assert!(done.iter().all(is_moved), "{done:?}");
    for order in orders(&bed).await {
        assert_eq!((order.version, bed.truth.verify(order.key).await.unwrap()), (2, Ok(2)));
    }
    // Version 1 did not wait for the check, so it may have been missed: told, and not acted on.
    bed.shows("1", "running: waiting, waiting, done").await;
    bed.pass(&running, Span::from_secs(2 * 60)).await;
    bed.shows("2", "stuck (unproven, timed_out): timed_out, timed_out, done").await;
    running.stop().await;
}

#[tokio::test]
async fn a_moved_order_goes_on_under_its_new_version_and_its_trail_names_the_steps_of_then() {
    let bed = Bed::new(&["shop"]).await;
    let running = two_versions(&bed, &["1", "2"]).await;
    let only = OrderFilter { order_id: Some("1".to_owned()), ..OrderFilter::default() };
    assert_eq!(migrate(&running, migration(false), only.clone()).await.unwrap().len(), 1);
    assert_eq!(bed.order("order", "2").await.unwrap().version, 1, "the other stays");
    bed.event("Checked", "1");
    bed.event("Paid", "1");
    bed.shows("1", "completed: done, done, done").await;
    bed.event("Checked", "2");
    bed.event("Paid", "2");
    bed.shows("2", "completed: done, done").await;
    let trail = get(&running, "/v1/sagas/order/orders/1/audit").await;
    let changes: Vec<Vec<&str>> = trail["entries"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["changes"].as_array().unwrap().iter().filter_map(|it| it["step"].as_str()).collect())
        .collect();
    assert_eq!(changes, [vec!["placed", "paid"], vec!["checked"], vec!["checked"], vec!["paid"]]);
    let moved = &trail["entries"][1];
    assert_eq!(
        (&moved["kind"], &moved["name"], &moved["actor"]),
        (&json!("command"), &json!("migrate"), &json!("ann"))
    );
    assert_eq!((&moved["migrated"], &moved["reason"]), (&json!({"from": 1, "to": 2}), &json!("mended")));
    // The same entries among those of all orders.
    let journal = get(&running, "/v1/journal?saga=order").await;
    for entry in trail["entries"].as_array().unwrap() {
        assert!(journal["entries"].as_array().unwrap().contains(entry), "{entry}");
    }
    assert_eq!(bed.truth.verify(key("order", "1")).await.unwrap(), Ok(4));
    let again = migrate(&running, migration(false), only).await.unwrap();
    assert_eq!(again[0].outcome, MigrationOutcome::Already);
    running.stop().await;
}

#[tokio::test]
async fn what_was_cut_off_is_asked_again_and_nothing_is_moved_twice() {
    let bed = Bed::new(&["shop"]).await;
    let ids: Vec<String> = (0..130).map(|n| n.to_string()).collect();
    let running = two_versions(&bed, &ids.iter().map(String::as_str).collect::<Vec<_>>()).await;
    // The first batch is committed, and its answer is lost.
    bed.faults.deaf_once.store(true, Ordering::SeqCst);
    let lost = migrate(&running, migration(false), OrderFilter::default()).await;
    assert!(matches!(lost, Err(CommandError::Store(_))), "{lost:?}");
    let moved = orders(&bed).await.into_iter().filter(|order| order.version == 2).count();
    assert_eq!(moved, 100, "a part is moved");
    let rest = migrate(&running, migration(false), OrderFilter::default()).await.unwrap();
    assert_eq!((rest.len(), rest.iter().all(is_moved)), (30, true));
    for order in orders(&bed).await {
        let trail = bed.truth.audit(order.key.clone(), 0, 10).await.unwrap();
        let moves = trail.iter().filter(|entry| entry.kind.word() == "command").count();
        assert_eq!((moves, bed.truth.verify(order.key).await.unwrap()), (1, Ok(2)));
    }
    assert!(migrate(&running, migration(false), OrderFilter::default()).await.unwrap().is_empty());
    running.stop().await;
}

#[tokio::test]
async fn a_filter_narrows_it_and_what_cannot_be_meant_is_said() {
    let bed = Bed::new(&["shop"]).await;
    let running = two_versions(&bed, &["1"]).await;
    let stuck = OrderFilter { statuses: vec![escrow::saga::order::Status::Stuck], ..OrderFilter::default() };
    assert!(migrate(&running, migration(false), stuck).await.unwrap().is_empty());
    let ended = OrderFilter { statuses: vec![escrow::saga::order::Status::Completed], ..OrderFilter::default() };
    assert!(migrate(&running, migration(false), ended).await.unwrap().is_empty(), "only open orders move");
    let all = OrderFilter::default;
    for (from, to, part) in [
        (1, 1, "there already"),
        (1, 7, "no version 7; stored are 1, 2"),
        (2, 1, "first let it open new orders: `escrow saga version order 1`"),
    ] {
        let why = migrate(&running, Migration { from, to, ..migration(false) }, all()).await.unwrap_err().to_string();
        assert!(why.contains(part), "{why}");
    }
    let nobody = OrderFilter { order_id: Some("x".to_owned()), ..all() };
    assert!(matches!(migrate(&running, migration(true), nobody).await, Err(CommandError::NotFound)));
    assert_eq!(bed.order("order", "1").await.unwrap().version, 1);
    running.stop().await;
}

#[tokio::test]
async fn there_and_back_again_by_commands_alone() {
    let bed = Bed::new(&["shop"]).await;
    let running = two_versions(&bed, &["1"]).await;
    bed.event("Checked", "1");
    bed.drained(&running).await;
    let go = async |version: u32| {
        let (actor, reason) = ("ann".to_owned(), "2 is broken".to_owned());
        commands(&running).apply_version("order".to_owned(), version, actor, reason).await.unwrap();
        bed.until("it opens orders", async || {
            (running.escrow.catalog().newest("order").unwrap().version == version).then_some(())
        })
        .await;
    };
    assert!(migrate(&running, migration(false), OrderFilter::default()).await.unwrap().iter().all(is_moved));
    go(1).await;
    bed.event("Placed", "2");
    bed.shows("2", "running: done, waiting").await;
    // The check is waited for, and version 1 does not have it.
    let back = Migration { from: 2, to: 1, ..migration(false) };
    let refused = migrate(&running, back.clone(), OrderFilter::default()).await.unwrap();
    let why = MigrationOutcome::Refused("step checked is waiting, and version 1 does not have it".to_owned());
    assert_eq!(refused[0].outcome, why);
    bed.event("Checked", "1");
    bed.shows("1", "running: done, waiting, done").await;
    assert!(migrate(&running, back, OrderFilter::default()).await.unwrap().iter().all(is_moved));
    bed.shows("1", "running: done, waiting").await;
    assert_eq!(bed.truth.verify(key("order", "1")).await.unwrap(), Ok(4));
    running.stop().await;
}
