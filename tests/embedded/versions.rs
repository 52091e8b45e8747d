//! A new version of a saga opens orders only once its bindings stand.

use std::sync::Arc;

use escrow::bus::Tap as _;
use escrow::saga::catalog::Catalog;
use escrow::telemetry::Metrics;
use escrow::worker::looks::{Looks, hold_unbound};
use escrow::worker::{Escrow, Worker as _, definitions};

use super::bed::{Bed, ORDER};

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
