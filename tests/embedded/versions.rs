//! What becomes of versions: which one opens orders, from when on, and what files can and cannot change.

use std::sync::Arc;

use escrow::bus::Tap as _;
use escrow::saga::catalog::Catalog;
use escrow::saga::time::Span;
use escrow::telemetry::Metrics;
use escrow::worker::definitions::DefinitionError;
use escrow::worker::looks::{Looks, hold_unbound};
use escrow::worker::{Escrow, Worker as _, definitions};

use super::bed::{Bed, ORDER, TAP, commands};

fn newest(escrow: &Escrow) -> u32 {
    escrow.catalog().newest("order").unwrap().version
}

async fn escrow(bed: &Bed) -> Arc<Escrow> {
    let catalog: Catalog = definitions::load(bed.truth.as_ref()).await.unwrap();
    let escrow = Arc::new(Escrow::new(Arc::clone(&bed.truth), Arc::new(catalog), Arc::new(Metrics::new())));
    hold_unbound(&escrow, bed.bus.tap("test").name()).await.unwrap();
    escrow
}

#[tokio::test]
async fn a_new_version_is_followed_after_a_look_at_what_it_watches() {
    let bed = Bed::new(&["shop"]).await;
    bed.propose(ORDER).await;
    let first = escrow(&bed).await;
    assert_eq!(newest(&first), 1, "the first version at once");
    let mut looks = Looks::new(Arc::clone(&first), bed.bus.tap("test"));
    looks.run_once().await.unwrap();

    let second =
        ORDER.replace("version: 1", "version: 2").replace("exchange: shop }]", "exchange: shop }, { exchange: late }]");
    bed.propose(&second).await;
    definitions::refresh(&first).await.unwrap();
    assert_eq!((newest(&first), first.catalog().held().count()), (1, 1));
    // One that begins now does not know of `late` either.
    assert_eq!(newest(escrow(&bed).await.as_ref()), 1);
    looks.run_once().await.unwrap();
    assert_eq!((newest(&first), first.catalog().held().count()), (2, 0), "found absent is known");
    definitions::refresh(&first).await.unwrap();
    assert_eq!(newest(&first), 2, "and it stays so");
    assert_eq!(newest(escrow(&bed).await.as_ref()), 2);
}

#[tokio::test]
async fn a_version_that_needs_other_keys_waits_for_them() {
    let bed = Bed::new(&["shop"]).await;
    bed.propose(ORDER).await;
    let first = escrow(&bed).await;
    Looks::new(Arc::clone(&first), bed.bus.tap("test")).run_once().await.unwrap();
    bed.propose(
        &ORDER.replace("version: 1", "version: 2").replace("exchange: shop }]", "exchange: shop, keys: [paid] }]"),
    )
    .await;
    assert_eq!(newest(escrow(&bed).await.as_ref()), 1, "its key is not bound");
    bed.propose(&ORDER.replace("version: 1", "version: 3")).await;
    assert_eq!(newest(escrow(&bed).await.as_ref()), 3, "its keys are");
}

#[tokio::test]
async fn without_a_tap_there_is_nothing_to_wait_for() {
    let bed = Bed::new(&[]).await;
    bed.propose(ORDER).await;
    let running = bed.start(false).await;
    bed.propose(&ORDER.replace("version: 1", "version: 2").replace("Paid", "Settled")).await;
    definitions::refresh(&running.escrow).await.unwrap();
    assert_eq!(newest(&running.escrow), 2);
    running.stop().await;
}

/// What a file with this text comes to at start.
async fn propose(bed: &Bed, file: &str, text: &str) -> Result<(), DefinitionError> {
    let sagas = definitions::parse_all(vec![(file.to_owned(), text.to_owned())])?;
    definitions::propose(bed.truth.as_ref(), sagas).await
}

/// All that files could change.
async fn stored(bed: &Bed) -> impl PartialEq + std::fmt::Debug + use<> {
    let definitions = bed.truth.definitions().await.unwrap();
    (definitions, bed.truth.modes().await.unwrap(), bed.truth.bindings(TAP.to_owned()).await.unwrap())
}

#[tokio::test]
async fn an_order_keeps_the_version_it_began_with_and_new_ones_open_on_the_newest() {
    let bed = Bed::new(&["shop"]).await;
    let running = bed.run(ORDER).await;
    bed.event("Placed", "1");
    bed.shows("1", "running: done, waiting").await;
    bed.propose(&ORDER.replace("version: 1", "version: 2").replace("done: Paid", "done: Settled")).await;
    definitions::refresh(&running.escrow).await.unwrap();
    bed.until("version 2 opens orders", async || (newest(&running.escrow) == 2).then_some(())).await;
    bed.event("Placed", "2");
    bed.event("Settled", "1");
    bed.event("Paid", "2");
    bed.drained(&running).await;
    assert_eq!(bed.shown("1").await, "running: done, waiting", "version 1 does not know what is settled");
    assert_eq!(bed.shown("2").await, "running: done, waiting");
    bed.event("Paid", "1");
    bed.event("Settled", "2");
    bed.shows("1", "completed: done, done").await;
    bed.shows("2", "completed: done, done").await;
    let versions = [bed.order("order", "1").await.unwrap().version, bed.order("order", "2").await.unwrap().version];
    assert_eq!(versions, [1, 2]);
    running.stop().await;
}

#[tokio::test]
async fn another_meaning_under_the_same_version_is_refused_with_what_to_do() {
    let bed = Bed::new(&[]).await;
    bed.propose(ORDER).await;
    let before = stored(&bed).await;
    let error = propose(&bed, "sagas/order.yaml", &ORDER.replace("30s", "31s")).await.unwrap_err();
    let told = error.to_string();
    for part in ["sagas/order.yaml", "saga order version 1", "a higher version", "escrow saga show order -o json"] {
        assert!(told.contains(part), "{part}: {told}");
    }
    assert_eq!(stored(&bed).await, before);
    // Other words for the same, and what is no part of the meaning, are taken.
    propose(&bed, "sagas/order.yaml", &format!("# a comment\n{ORDER}brake: none\n")).await.unwrap();
    assert!(bed.truth.definitions().await.unwrap()[0].text.contains("a comment"));
}

#[tokio::test]
async fn a_saga_whose_file_is_gone_goes_on() {
    let bed = Bed::new(&["shop"]).await;
    let first = bed.run(ORDER).await;
    bed.event("Placed", "1");
    bed.shows("1", "running: done, waiting").await;
    first.stop().await;
    // Started again, with an empty folder.
    definitions::propose(bed.truth.as_ref(), Vec::new()).await.unwrap();
    let second = bed.start(true).await;
    bed.event("Paid", "1");
    bed.shows("1", "completed: done, done").await;
    // What is stored is followed, new orders included.
    bed.event("Placed", "2");
    bed.shows("2", "running: done, waiting").await;
    bed.pass(&second, Span::from_secs(31)).await;
    bed.shows("2", "compensated: done, compensated").await;
    second.stop().await;
}

#[tokio::test]
async fn a_replica_with_older_files_changes_nothing_and_follows_what_it_finds() {
    let bed = Bed::new(&["shop"]).await;
    let running = bed.run(&ORDER.replace("version: 1", "version: 2")).await;
    let before = stored(&bed).await;
    // Its text is another than was ever stored, and so is its mode.
    let old = ORDER.replace("30s", "1s").replace("exchange: shop }]", "exchange: elsewhere }]");
    propose(&bed, "old.yaml", &format!("{old}mode: observe\n")).await.unwrap();
    let other = bed.start(true).await;
    assert_eq!((newest(&other.escrow), other.escrow.catalog().all().count()), (2, 1));
    assert_eq!(stored(&bed).await, before);
    running.stop().await;
    bed.event("Placed", "1");
    bed.shows("1", "running: done, waiting").await;
    assert_eq!(bed.order("order", "1").await.unwrap().version, 2);
    other.stop().await;
}

#[tokio::test]
async fn going_back_is_a_command_that_files_do_not_undo_and_a_higher_version_does() {
    let bed = Bed::new(&[]).await;
    bed.propose(ORDER).await;
    let second = ORDER.replace("version: 1", "version: 2");
    bed.propose(&second).await;
    let running = bed.start(false).await;
    let go = async |version: u32| {
        let (actor, reason) = ("ann".to_owned(), "2 is broken".to_owned());
        commands(&running).apply_version("order".to_owned(), version, actor, reason).await
    };
    go(1).await.unwrap();
    assert_eq!(newest(&running.escrow), 1);
    let before = stored(&bed).await;
    go(1).await.unwrap();
    assert_eq!(stored(&bed).await, before, "asked twice is done once");
    let unknown = go(9).await.unwrap_err().to_string();
    assert!(unknown.contains("no version 9; stored are 1, 2"), "{unknown}");
    // The file of version 2 is still there at the next start.
    propose(&bed, "order.yaml", &second).await.unwrap();
    definitions::refresh(&running.escrow).await.unwrap();
    assert_eq!(newest(&running.escrow), 1);
    propose(&bed, "order.yaml", &ORDER.replace("version: 1", "version: 3")).await.unwrap();
    definitions::refresh(&running.escrow).await.unwrap();
    assert_eq!(newest(&running.escrow), 3);
    running.stop().await;
}
