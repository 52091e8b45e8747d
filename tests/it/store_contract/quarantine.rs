//! Messages that could not be read, and the doubts that go with them.

use escrow::saga::batch::{Changes, Loaded, Lookup, NewDoubt, QuarantineReason, Quarantined, Resolved, TapProgress};
use escrow::saga::order::{DoubtKind, OrderKey};
use escrow::saga::time::{Moment, Span};
use escrow::store::{Page, QuarantineFilter, StoreError};
use serde_json::json;

use super::Bed;
use super::given::{apply, begun, key, lookup};

fn message(saga: Option<&str>, reason: QuarantineReason, exchange: &str) -> Quarantined {
    Quarantined {
        reason,
        detail: "no order id at /data/order_id".to_owned(),
        saga: saga.map(str::to_owned),
        event: Some("OrderPlaced".to_owned()),
        order_id: None,
        exchange: exchange.to_owned(),
        routing_key: "k".to_owned(),
        envelope: json!({}),
        body: b"{}".to_vec(),
        body_bytes: 2,
    }
}

fn doubt(about: Option<usize>, from: i64) -> NewDoubt {
    NewDoubt {
        kind: if about.is_some() { DoubtKind::Quarantine } else { DoubtKind::Gap },
        saga: Some("order".to_owned()),
        from: Moment(from),
        to: Moment(from + 1),
        event: None,
        order_id: None,
        detail: "something was missed".to_owned(),
        quarantined: about,
    }
}

pub async fn a_resolved_message_takes_its_doubt_along(bed: Bed) {
    let store = &*bed.store;
    let kept = |_: &Loaded| Changes {
        quarantined: ["one", "two", "three"].map(|it| message(Some("order"), QuarantineReason::NoOrderId, it)).into(),
        // Named by place, in another order.
        doubts: vec![doubt(Some(2), 3), doubt(Some(0), 1), doubt(None, 9)],
        ..Changes::default()
    };
    apply(store, Lookup::default(), kept).await.unwrap();
    store.record_doubts(vec![doubt(None, 10)]).await.unwrap();
    let listed = store.quarantine(QuarantineFilter::default(), Page { limit: 10, cursor: None }).await.unwrap().items;
    assert_eq!(listed.iter().map(|it| it.exchange.as_str()).collect::<Vec<_>>(), ["three", "two", "one"]);
    let froms = async || {
        let mut froms: Vec<_> = store.doubts(10).await.unwrap().iter().map(|it| it.from.0).collect();
        froms.sort_unstable();
        froms
    };
    assert_eq!(froms().await, [1, 3, 9, 10]);
    let three = listed[0].id;
    let replayed = move |loaded: &Loaded| {
        assert!(loaded.doubts.is_empty(), "a batch without orders decides nothing in doubt");
        let resolved = Resolved { id: three, how: "replayed", actor: "ada".to_owned(), reason: "fixed".to_owned() };
        Changes { resolved: vec![resolved], ..Changes::default() }
    };
    apply(store, Lookup::default(), replayed).await.unwrap();
    assert_eq!(froms().await, [1, 9, 10]);
    let row = store.quarantined(three).await.unwrap().unwrap();
    assert_eq!(
        (row.resolved.as_deref(), row.resolved_by.as_deref(), row.resolved_reason.as_deref()),
        (Some("replayed"), Some("ada"), Some("fixed"))
    );
    let open = store.quarantine(QuarantineFilter::default(), Page { limit: 10, cursor: None }).await.unwrap().items;
    assert_eq!(open.len(), 2);
    let later = store.now().await.unwrap() + Span::from_secs(1);
    assert_eq!(store.purge(later).await.unwrap(), 1, "the resolved doubt");
    assert_eq!(store.quarantined(i64::MAX).await.unwrap(), None);
}

pub async fn a_batch_is_told_the_doubts_about_its_own_orders(bed: Bed) {
    let store = &*bed.store;
    let about = |saga: Option<&str>, order_id: Option<&str>, event: Option<&str>, from| NewDoubt {
        saga: saga.map(str::to_owned),
        order_id: order_id.map(str::to_owned),
        event: event.map(str::to_owned),
        ..doubt(None, from)
    };
    let doubts = vec![
        about(None, None, None, 1),
        about(Some("order"), None, None, 2),
        about(Some("order"), None, Some("Paid"), 5),
        about(Some("order"), None, Some("Paid"), 3),
        about(Some("order"), None, Some("Paid"), 9),
        about(Some("order"), Some("1"), None, 11),
        about(Some("order"), Some("2"), None, 12),
        about(Some("other"), Some("1"), None, 13),
        about(Some("other"), None, None, 14),
    ];
    store.record_doubts(doubts).await.unwrap();
    let told = async |lookup: Lookup| {
        let (sender, receiver) = std::sync::mpsc::channel();
        let decide = move |loaded: &Loaded| {
            let mut told: Vec<_> = loaded.doubts.iter().map(|it| (it.from.0, it.to.0)).collect();
            told.sort_unstable();
            sender.send(told).unwrap();
            Changes::default()
        };
        apply(store, lookup, decide).await.unwrap();
        receiver.try_iter().last().unwrap()
    };
    let key = OrderKey { saga: "order".to_owned(), order_id: "1".to_owned() };
    let one = Lookup { orders: [key].into(), ..Lookup::default() };
    assert_eq!(told(one).await, [(1, 2), (2, 3), (3, 10), (11, 12)], "of doubts alike, one");
    let arrivals = Lookup { arrivals: [("other".to_owned(), 5)].into(), ..Lookup::default() };
    assert_eq!(told(arrivals).await, [(1, 2), (14, 15)]);
    assert_eq!(store.doubts(20).await.unwrap().len(), 9, "people are told each");
}

pub async fn quarantine_is_listed_by_every_filter(bed: Bed) {
    let store = &*bed.store;
    let kept = |_: &Loaded| Changes {
        quarantined: vec![
            message(Some("order"), QuarantineReason::NoOrderId, "orders"),
            message(Some("order"), QuarantineReason::Unreadable, "stock"),
            message(None, QuarantineReason::Unreadable, "orders"),
        ],
        ..Changes::default()
    };
    apply(store, Lookup::default(), kept).await.unwrap();
    let all = store.quarantine(QuarantineFilter::default(), Page { limit: 10, cursor: None }).await.unwrap();
    let (newest, oldest) = (all.items[0].id, all.items[2].id);
    let dropped = move |_: &Loaded| {
        let resolved = Resolved { id: newest, how: "dropped", actor: "ada".to_owned(), reason: "noise".to_owned() };
        Changes { resolved: vec![resolved], ..Changes::default() }
    };
    apply(store, Lookup::default(), dropped).await.unwrap();
    let count = async |change: fn(&mut QuarantineFilter)| {
        let mut filter = QuarantineFilter::default();
        change(&mut filter);
        store.quarantine(filter, Page { limit: 10, cursor: None }).await.unwrap().items.len()
    };
    let waiting = [("no_order_id".to_owned(), 1), ("unreadable".to_owned(), 1)];
    assert_eq!(store.quarantine_reasons().await.unwrap(), waiting, "without what was dropped");
    assert_eq!(count(|_| {}).await, 2);
    let mut open = store.count_open().await.unwrap().quarantine;
    open.sort_unstable();
    assert_eq!(open, [("no_order_id".to_owned(), 1), ("unreadable".to_owned(), 1)], "what was dropped is not counted");
    assert_eq!(count(|it| it.resolved = true).await, 3);
    assert_eq!(count(|it| it.saga = Some("order".to_owned())).await, 2);
    assert_eq!(count(|it| it.reason = Some("unreadable".to_owned())).await, 1);
    assert_eq!(count(|it| it.exchange = Some("orders".to_owned())).await, 1);
    assert_eq!(count(|it| it.exchange = Some("nowhere".to_owned())).await, 0);
    let first = store.quarantine(QuarantineFilter::default(), Page { limit: 1, cursor: None }).await.unwrap();
    let page = Page { limit: 1, cursor: first.next_cursor };
    let second = store.quarantine(QuarantineFilter::default(), page).await.unwrap();
    assert_eq!((second.items[0].id, second.next_cursor), (oldest, None));
    let wrong = store.quarantine(QuarantineFilter::default(), Page { limit: 1, cursor: Some("bm8".to_owned()) }).await;
    assert!(matches!(wrong, Err(StoreError::BadCursor)));
}

/// The first event of an order may have waited in the tap while its second was lost.
pub async fn a_gap_reaches_the_orders_that_begin_before_the_watermark_has_passed_it(bed: Bed) {
    let store = &*bed.store;
    let now = store.now().await.unwrap();
    store.record_doubts(vec![NewDoubt { to: now, ..doubt(None, now.0 - 10) }]).await.unwrap();
    let begin = async |id: &str, watermark: Option<Moment>| {
        let key = key(id);
        let wanted = Lookup { tap: Some("tap".to_owned()), ..lookup([key.clone()]) };
        let decide = move |loaded: &Loaded| {
            let (order, payload) = begun(&key, loaded.now, |_| {});
            let tap = Some(TapProgress { name: "tap".to_owned(), watermark, last_batch: Vec::new() });
            Changes { orders: vec![order], payloads: vec![payload], tap, ..Changes::default() }
        };
        apply(store, wanted, decide).await.unwrap().now
    };
    let reaches = async || store.doubts(1).await.unwrap()[0].to;
    let first = begin("1", None).await;
    assert_eq!(reaches().await, first, "nothing says that what came before the gap is applied");
    let second = begin("2", Some(first)).await;
    assert_eq!(reaches().await, second, "it was in the tap before the canary");
    begin("3", None).await;
    assert_eq!(reaches().await, second, "the watermark has passed the gap");
}
