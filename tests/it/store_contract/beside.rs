//! Two batches beside each other: the last is there only if the first is.

use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use escrow::saga::batch::{Changes, Loaded};
use escrow::store::{Beside, StoreError};

use super::Bed;
use super::given::{begun, key, lookup, telling};

fn begin(id: &'static str) -> impl Fn(&Loaded) -> Changes + Send + Sync + 'static {
    move |loaded| {
        let (order, payload) = begun(&key(id), loaded.now, |_| {});
        Changes { orders: vec![order], payloads: vec![payload], ..Changes::default() }
    }
}

pub async fn two_batches_beside_each_other_are_both_saved(bed: Bed) {
    let first = (lookup([key("a")]), Arc::new(begin("a")) as _);
    let last = (lookup([key("b")]), Arc::new(begin("b")) as _);
    let Beside { first, last } = bed.store.apply_beside(first, last).await;
    assert_eq!(first.unwrap().changes.orders.len(), 1);
    assert_eq!(last.unwrap().unwrap().changes.orders.len(), 1);
    for id in ["a", "b"] {
        assert!(bed.store.find_order(key(id)).await.unwrap().is_some(), "{id}");
    }
}

pub async fn a_last_batch_is_decided_beside_the_first_and_waits_for_its_commit(bed: Bed) {
    let (seen, sees) = mpsc::channel();
    let sees = Mutex::new(sees);
    let has_lanes = bed.store.has_lanes();
    let first = move |loaded: &Loaded| {
        // The last is decided while this one is not committed: where that can be.
        let beside = sees.lock().unwrap().recv_timeout(Duration::from_secs(if has_lanes { 60 } else { 0 }));
        assert_eq!(beside.is_ok(), has_lanes);
        begin("a")(loaded)
    };
    let last = move |loaded: &Loaded| {
        seen.send(()).ok();
        begin("b")(loaded)
    };
    let first = (lookup([key("a")]), Arc::new(first) as _);
    let last = (lookup([key("b")]), Arc::new(last) as _);
    let Beside { first, last } = bed.store.apply_beside(first, last).await;
    let (first, last) = (first.unwrap(), last.unwrap().unwrap());
    assert!(first.changes.orders[0].order.created_at <= last.now);
    let entries = |id| bed.store.audit(key(id), 0, 10);
    assert_eq!((entries("a").await.unwrap().len(), entries("b").await.unwrap().len()), (1, 1));
}

pub async fn a_last_batch_is_not_saved_where_the_first_is_refused(bed: Bed) {
    let refused = |loaded: &Loaded| {
        let twice = telling(&key("a"), 1, 0);
        Changes { outbox: vec![twice.clone(), twice], ..begin("a")(loaded) }
    };
    let first = (lookup([key("a")]), Arc::new(refused) as _);
    let last = (lookup([key("b")]), Arc::new(begin("b")) as _);
    let Beside { first, last } = bed.store.apply_beside(first, last).await;
    assert!(matches!(first, Err(StoreError::Refused(_))), "{first:?}");
    assert!(last.is_none());
    for id in ["a", "b"] {
        assert!(bed.store.find_order(key(id)).await.unwrap().is_none(), "{id}");
    }
}

pub async fn a_last_batch_is_not_saved_where_the_first_decided_nothing(bed: Bed) {
    let unknown = |_: &Loaded| Changes { unknown_version: Some(("order".to_owned(), 9)), ..Changes::default() };
    let first = (lookup([key("a")]), Arc::new(unknown) as _);
    let last = (lookup([key("b")]), Arc::new(begin("b")) as _);
    let Beside { first, last } = bed.store.apply_beside(first, last).await;
    assert!(first.unwrap().changes.unknown_version.is_some() && last.is_none());
    assert!(bed.store.find_order(key("b")).await.unwrap().is_none());
}
