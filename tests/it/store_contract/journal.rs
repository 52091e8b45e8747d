//! The trail: append-only, chained, complete for those who follow it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use escrow::saga::batch::{Changes, SavedOrder};
use escrow::saga::journal::{Broken, EntryBody, Kind, Migrated};
use escrow::saga::order::Order;
use escrow::saga::time::Moment;
use escrow::store::{JournalFilter, JournalRow, Page, StoreError};
use serde_json::json;

use super::Bed;
use super::given::{apply, attribute, begin_one, change, changed, key, lookup, of, record, step_names};

pub async fn the_journal_refuses_changes(bed: Bed) {
    begin_one(&*bed.store, key("a"), |_, _| {}).await;
    for sql in ["UPDATE journal SET actor = 'eve'", "DELETE FROM journal", "DELETE FROM journal WHERE sequence = 1"] {
        let error = bed.raw(sql).await.expect_err(sql).to_string();
        assert!(error.contains("append-only"), "{sql}: {error}");
    }
    if bed.is_postgres() {
        let error = bed.raw("TRUNCATE journal").await.expect_err("TRUNCATE").to_string();
        assert!(error.contains("append-only"), "{error}");
    }
    let again = "INSERT INTO journal (saga, order_id, sequence, at, kind, body, hash)
                 SELECT saga, order_id, sequence, at, kind, body, hash FROM journal";
    assert!(bed.raw(again).await.is_err(), "a sequence is used once");
    assert_eq!(bed.store.verify(key("a")).await.unwrap(), Ok(1));
}

/// The order goes on under another version, whose steps stand in another order.
fn moved(order: &Order, at: Moment, from: u32, to: u32) -> SavedOrder {
    let mut order = order.clone();
    let migrated = Migrated { from, to, places: vec![Some(1), Some(0), None] };
    let body = EntryBody { migrated: Some(migrated.clone()), ..EntryBody::default() };
    migrated.carry(&mut order);
    let sealed = record(&mut order, at, Kind::Command, body, |order| order.steps[2].attempts = 1);
    SavedOrder { order, step_names: step_names(), entries: vec![sealed], is_new: false, attributes_changed: false }
}

pub async fn entries_of_a_moved_order_number_the_steps_of_the_version_of_then(bed: Bed) {
    let store = &*bed.store;
    begin_one(store, key("a"), |order, _| drop(order.attributes.insert("n".to_owned(), attribute(json!(1))))).await;
    change(store, key("a"), Kind::Deadline, |order| order.steps[1].attempts = 1).await;
    for (from, to) in [(1, 2), (2, 3)] {
        apply(store, lookup([key("a")]), move |loaded| Changes {
            orders: vec![moved(&loaded.orders[&key("a")], loaded.now, from, to)],
            ..Changes::default()
        })
        .await
        .unwrap();
    }
    change(store, key("a"), Kind::Deadline, |order| order.steps[1].attempts = 7).await;
    let versions = |rows: Vec<JournalRow>| rows.iter().map(|row| row.version).collect::<Vec<_>>();
    assert_eq!(versions(store.audit(key("a"), 0, 10).await.unwrap()), [1, 1, 2, 3, 3]);
    assert_eq!(versions(store.audit(key("a"), 2, 10).await.unwrap()), [2, 3, 3]);
    assert_eq!(versions(store.journal_since(0, 10).await.unwrap()), [1, 1, 2, 3, 3]);
    let all = store.journal(JournalFilter::default(), Page { limit: 10, cursor: None }).await.unwrap();
    assert_eq!(versions(all.items), [3, 3, 2, 1, 1]);
    assert_eq!(store.verify(key("a")).await.unwrap(), Ok(5));
    let order = store.find_order(key("a")).await.unwrap().unwrap();
    assert_eq!((order.version, order.earlier.len(), order.steps[1].attempts), (3, 2, 7));
    // Its steps are named for the statistics.
    let named = bed.lines("SELECT CAST(version AS text) AS line FROM step_names ORDER BY version", "line").await;
    assert_eq!(named, ["1", "2", "3"]);
    // Where it was is part of what is verified.
    bed.raw("UPDATE orders SET earlier = '1 3,2 4'").await.unwrap();
    assert!(matches!(store.verify(key("a")).await.unwrap(), Err(Broken::Fold { .. })));
    bed.raw("UPDATE orders SET earlier = 'nonsense'").await.unwrap();
    assert!(matches!(store.verify(key("a")).await, Ok(Err(_)) | Err(StoreError::Corrupt(_))));
}

/// Changes what the journal would refuse to have changed.
async fn tamper(bed: &Bed, sql: &str) {
    let unlock = if bed.is_postgres() {
        "ALTER TABLE journal DISABLE TRIGGER USER;"
    } else {
        "DROP TRIGGER IF EXISTS journal_never_updated; DROP TRIGGER IF EXISTS journal_never_deleted;"
    };
    bed.raw(&format!("{unlock} {sql}")).await.unwrap();
}

/// The order, what is done to it, and what verifying finds.
type Tampering = (&'static str, String, fn(&Broken) -> bool);

pub async fn a_trail_that_was_tampered_with_is_found(bed: Bed) {
    let hash = if bed.is_postgres() { "'\\x00'::bytea" } else { "x'00'" };
    let cases: [Tampering; 8] = [
        ("edited", "UPDATE journal SET actor = 'eve' WHERE order_id = 'edited' AND sequence = 2".to_owned(), |it| {
            matches!(it, Broken::Hash { sequence: 2 })
        }),
        ("deleted", "DELETE FROM journal WHERE order_id = 'deleted' AND sequence = 2".to_owned(), |it| {
            matches!(it, Broken::Sequence { sequence: 2 })
        }),
        ("cut", "DELETE FROM journal WHERE order_id = 'cut' AND sequence = 3".to_owned(), |it| {
            matches!(it, Broken::Fold { .. })
        }),
        (
            "moved",
            "UPDATE journal SET sequence = 5 - sequence + 10 WHERE order_id = 'moved' AND sequence > 1; \
                   UPDATE journal SET sequence = sequence - 10 WHERE order_id = 'moved' AND sequence > 10"
                .to_owned(),
            |it| matches!(it, Broken::Hash { sequence: 2 }),
        ),
        (
            "row",
            "UPDATE orders SET status = 'closed', state = replace(state, '\"running\"', '\"closed\"') \
                 WHERE order_id = 'row'"
                .to_owned(),
            |it| matches!(it, Broken::Fold { .. }),
        ),
        ("payload", format!("UPDATE payloads SET body = {hash} WHERE order_id = 'payload'"), |it| {
            matches!(it, Broken::Payload { sequence: 1 })
        }),
        (
            "attribute",
            "UPDATE orders SET attributes = replace(attributes, 'John', 'Jane') WHERE order_id = 'attribute'"
                .to_owned(),
            |it| matches!(it, Broken::Attribute { .. }),
        ),
        ("gone", "DELETE FROM orders WHERE order_id = 'gone'".to_owned(), |it| matches!(it, Broken::Fold { .. })),
    ];
    for (id, ..) in &cases {
        begin_one(&*bed.store, key(id), |order, _| {
            order.attributes.insert("customer".to_owned(), attribute(json!("John")));
        })
        .await;
        change(&*bed.store, key(id), Kind::Late, |_| {}).await;
        change(&*bed.store, key(id), Kind::Late, |_| {}).await;
        assert_eq!(bed.store.verify(key(id)).await.unwrap(), Ok(3));
    }
    for (id, sql, expected) in cases {
        tamper(&bed, &sql).await;
        let broken = bed.store.verify(key(id)).await.unwrap().expect_err(id);
        assert!(expected(&broken), "{id}: {broken:?}");
    }
    // Erasing content breaks nothing.
    begin_one(&*bed.store, key("erased"), |_, _| {}).await;
    bed.raw("DELETE FROM payloads WHERE order_id = 'erased'").await.unwrap();
    assert_eq!(bed.store.verify(key("erased")).await.unwrap(), Ok(1));
    assert_eq!(bed.store.verify(key("never")).await.unwrap(), Ok(0));
}

pub async fn entries_are_listed_newest_first_by_every_filter(bed: Bed) {
    let store = &*bed.store;
    begin_one(store, key("a"), |_, _| {}).await;
    begin_one(store, of("other", "b"), |_, _| {}).await;
    change(store, key("a"), Kind::Command, |_| {}).await;
    change(store, key("a"), Kind::Retry, |_| {}).await;
    let list = async |filter: JournalFilter, limit| {
        let (mut all, mut page) = (Vec::new(), Page { limit, cursor: None });
        loop {
            let listed = store.journal(filter.clone(), page.clone()).await.unwrap();
            assert!(listed.items.len() <= limit);
            all.extend(listed.items);
            page.cursor = listed.next_cursor;
            if page.cursor.is_none() {
                return all;
            }
        }
    };
    let shown =
        |rows: &[JournalRow]| rows.iter().map(|row| (row.key.order_id.clone(), row.sequence)).collect::<Vec<_>>();
    let named = |rows: [(&str, u64); 4]| rows.map(|(id, sequence)| (id.to_owned(), sequence)).to_vec();
    let all = list(JournalFilter::default(), 1).await;
    assert_eq!(shown(&all), named([("a", 3), ("a", 2), ("b", 1), ("a", 1)]));
    assert_eq!(all, list(JournalFilter::default(), 100).await);
    assert!(all.iter().all(|row| row.version == 1));
    let others = JournalFilter { saga: Some("other".to_owned()), ..JournalFilter::default() };
    assert_eq!(shown(&list(others, 10).await), [("b".to_owned(), 1)]);
    let kinds = JournalFilter { kinds: vec![Kind::Retry, Kind::Command], ..JournalFilter::default() };
    assert_eq!(shown(&list(kinds, 10).await), [("a".to_owned(), 3), ("a".to_owned(), 2)]);
    let mixed = JournalFilter { kinds: vec![Kind::Event, Kind::Command], ..JournalFilter::default() };
    assert_eq!(list(mixed, 1).await.len(), 3);
    let actor = JournalFilter { actor: Some("ada".to_owned()), ..JournalFilter::default() };
    assert_eq!(shown(&list(actor, 10).await), [("a".to_owned(), 2)]);
    let between = JournalFilter { since: Some(all[2].at), until: Some(all[0].at), ..JournalFilter::default() };
    assert_eq!(shown(&list(between, 10).await), [("a".to_owned(), 2), ("b".to_owned(), 1)]);
    assert_eq!(shown(&store.audit(key("a"), 1, 1).await.unwrap()), [("a".to_owned(), 2)]);
    let wrong = store.journal(JournalFilter::default(), Page { limit: 1, cursor: Some("?".to_owned()) }).await;
    assert!(matches!(wrong, Err(StoreError::BadCursor)));
}

pub async fn followers_miss_nothing_of_concurrent_writers(bed: Bed) {
    const WRITERS: usize = 6;
    const ENTRIES: u64 = 25;
    let done = Arc::new(AtomicBool::new(false));
    let follower = tokio::spawn({
        let (store, done) = (Arc::clone(&bed.store), Arc::clone(&done));
        async move {
            let (mut after, mut seen) = (0, BTreeSet::new());
            loop {
                let last_look = done.load(Ordering::SeqCst);
                let rows = store.journal_since(after, 7).await.unwrap();
                for row in &rows {
                    assert!(row.position > after, "positions rise");
                    after = row.position;
                    assert!(seen.insert((row.key.order_id.clone(), row.sequence)));
                }
                if rows.is_empty() && last_look {
                    return seen;
                }
                tokio::task::yield_now().await;
            }
        }
    });
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let store = Arc::clone(&bed.store);
            tokio::spawn(async move {
                let key = key(&format!("w{writer}"));
                begin_one(&*store, key.clone(), |_, _| {}).await;
                for _ in 1..ENTRIES {
                    let key = key.clone();
                    apply(&*store, lookup([key.clone()]), move |loaded| {
                        let saved = changed(&loaded.orders[&key], loaded.now, Kind::Late, |_| {});
                        Changes { orders: vec![saved], ..Changes::default() }
                    })
                    .await
                    .unwrap();
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    done.store(true, Ordering::SeqCst);
    assert_eq!(follower.await.unwrap().len(), WRITERS * usize::try_from(ENTRIES).unwrap());
}

pub async fn payloads_are_kept_apart(bed: Bed) {
    begin_one(&*bed.store, key("a"), |_, _| {}).await;
    let stored = bed.store.payload(key("a"), 1).await.unwrap().unwrap();
    assert_eq!(stored.body.as_deref(), Some(&br#"{"id":"a"}"#[..]));
    assert_eq!(
        (stored.exchange.as_str(), stored.routing_key.as_str(), stored.message_id.as_str()),
        ("orders", "placed", "m-1")
    );
    assert_eq!(stored.envelope, json!({ "headers": { "kind": "test" } }));
    assert_eq!(bed.store.payload(key("a"), 2).await.unwrap(), None);
    let trail = bed.store.audit(key("a"), 0, 10).await.unwrap();
    assert!(!trail[0].text.contains("\"id\":\"a\""), "the trail has hashes, not content");
}
