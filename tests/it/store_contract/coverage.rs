//! Which events a saga met.

use std::sync::Arc;

use escrow::saga::batch::{Changes, Loaded, Lookup};
use escrow::saga::coverage::{Coverage, STRANGERS_MAX};
use escrow::store::{EventMet, Store};

use super::Bed;
use super::given::apply;

async fn meet(store: &dyn Store, met: &[(&str, &str, &str, bool)]) {
    let mut coverage = Coverage::default();
    for (saga, exchange, event, is_named) in met {
        coverage.add(saga, exchange, event, *is_named);
    }
    let coverage = Arc::new(coverage);
    let changes = move |_: &Loaded| Changes { coverage: Arc::clone(&coverage), ..Changes::default() };
    apply(store, Lookup::default(), changes).await.unwrap();
}

fn shown(met: &[EventMet]) -> Vec<(&str, &str, u64)> {
    met.iter().map(|it| (it.exchange.as_str(), it.event.as_str(), it.seen)).collect()
}

pub async fn events_are_counted_by_saga_exchange_and_name(bed: Bed) {
    let store = &*bed.store;
    let before = store.now().await.unwrap();
    meet(store, &[("order", "shop", "Placed", true), ("order", "", "Placed", true), ("order", "shop", "Placed", true)])
        .await;
    meet(store, &[("order", "shop", "it's \"ähnlich\"\n", false), ("refund", "shop", "Placed", false)]).await;
    meet(store, &[("order", "shop", "Placed", true)]).await;
    let met = bed.another().await.events_met("order".to_owned()).await.unwrap();
    assert_eq!(shown(&met), [("", "Placed", 1), ("shop", "Placed", 3), ("shop", "it's \"ähnlich\"\n", 1)]);
    assert!(met.iter().all(|it| it.last_at >= before) && met[1].last_at >= met[0].last_at);
    assert_eq!(shown(&store.events_met("refund".to_owned()).await.unwrap()), [("shop", "Placed", 1)]);
    assert!(store.events_met("none".to_owned()).await.unwrap().is_empty());
}

pub async fn strangers_beyond_the_bound_are_counted_together(bed: Bed) {
    let store = &*bed.store;
    let names: Vec<String> = (0..STRANGERS_MAX + 10).map(|it| format!("stranger-{it:05}")).collect();
    let all: Vec<_> = names.iter().map(|name| ("order", "shop", name.as_str(), false)).collect();
    // All but the last ten that fit, then more than there is room for, in one batch.
    meet(store, &all[..STRANGERS_MAX - 10]).await;
    meet(store, &all[STRANGERS_MAX - 10..]).await;
    // What is known goes on being counted, what is named always is, and another saga has room of its own.
    meet(
        store,
        &[
            all[3],
            ("order", "shop", "Placed", true),
            ("order", "late", "one more", false),
            ("other", "shop", "x", false),
        ],
    )
    .await;
    let met = store.events_met("order".to_owned()).await.unwrap();
    assert_eq!(met.len(), STRANGERS_MAX + 2);
    assert_eq!(shown(&met)[0], ("", "", 11), "ten of the second batch, and one more");
    let count = |name: &str| met.iter().find(|it| it.event == name).map(|it| it.seen);
    assert_eq!((count("stranger-00003"), count("Placed"), count("one more")), (Some(2), Some(1), None));
    assert_eq!(shown(&store.events_met("other".to_owned()).await.unwrap()), [("shop", "x", 1)]);
}

pub async fn batches_beside_each_other_lose_no_count(bed: Bed) {
    const WRITERS: u64 = 6;
    const BATCHES: u64 = 15;
    let tasks: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let store = Arc::clone(&bed.store);
            tokio::spawn(async move {
                for batch in 0..BATCHES {
                    let own = format!("own-{writer}-{batch}");
                    // Not in key order: that is the store's business.
                    let met = [
                        ("order", "z", "Placed", true),
                        ("order", "a", own.as_str(), false),
                        ("order", "a", "Paid", true),
                    ];
                    meet(&*store, &met).await;
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let met = bed.store.events_met("order".to_owned()).await.unwrap();
    let count = |name: &str| met.iter().find(|it| it.event == name).map(|it| it.seen);
    assert_eq!((count("Placed"), count("Paid")), (Some(WRITERS * BATCHES), Some(WRITERS * BATCHES)));
    assert_eq!(met.len() as u64, WRITERS * BATCHES + 2);
}

pub async fn a_batch_that_is_not_saved_is_not_counted(bed: Bed) {
    let store = &*bed.store;
    let coverage = {
        let mut coverage = Coverage::default();
        coverage.add("order", "shop", "Placed", true);
        Arc::new(coverage)
    };
    let refused = move |loaded: &Loaded| {
        let (mut saved, _) = super::given::begun(&super::given::key("1"), loaded.now, |_| {});
        saved.is_new = false;
        Changes { orders: vec![saved], coverage: Arc::clone(&coverage), ..Changes::default() }
    };
    assert!(apply(store, Lookup::default(), refused).await.is_err(), "an order that was not loaded");
    assert!(store.events_met("order".to_owned()).await.unwrap().is_empty());
}
