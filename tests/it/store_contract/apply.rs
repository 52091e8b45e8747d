//! Batches: whole or not at all, one after the other, whoever goes away.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use escrow::saga::batch::{Changes, Loaded, Lookup, NewDoubt, QuarantineReason, Quarantined, TapProgress};
use escrow::saga::journal::Kind;
use escrow::saga::order::{DoubtKind, Need, Order, Sighting, Status, StuckReason};
use escrow::saga::time::Moment;
use escrow::store::{OrderFilter, Page, QuarantineFilter, StoreError};
use serde_json::{Value, json};

use super::Bed;
use super::given::{apply, attribute, begin_one, begun, change, changed, key, lookup, of, telling};

pub async fn an_order_comes_back_as_it_was_saved(bed: Bed) {
    begin_one(&*bed.store, key("101"), |order, now| {
        order.life.status = Status::Stuck;
        order.life.needs =
            vec![Need { reason: StuckReason::TimedOut, step: Some(2), since: now, detail: Some("a\0b".to_owned()) }];
        order.steps[2].deadline = Some(now);
        order.seen = vec![[3; 16], [4; 16]];
        order.attributes.insert("customer".to_owned(), attribute(json!({ "name": "Ü\u{0}", "n": 1.5 })));
        order.duplicates = 3;
    })
    .await;
    let found = bed.store.find_order(key("101")).await.unwrap().unwrap();
    let loaded = apply(&*bed.store, lookup([key("101"), key("none")]), {
        let found = found.clone();
        move |loaded| {
            assert_eq!(loaded.orders.values().collect::<Vec<_>>(), [&found]);
            assert!(loaded.corrupt.is_empty());
            Changes::default()
        }
    });
    loaded.await.unwrap();
    assert_eq!(found.seen, [[3; 16], [4; 16]]);
    assert_eq!(found.life.needs[0].detail.as_deref(), Some("a\0b"));
    assert_eq!(found.attributes["customer"].value, json!({ "name": "Ü\u{0}", "n": 1.5 }));
    assert_eq!((found.sequence, found.duplicates), (1, 3));
    assert_eq!(bed.store.find_order(of("other", "101")).await.unwrap(), None);
}

pub async fn a_batch_is_saved_whole_or_not_at_all(bed: Bed) {
    let refused = apply(&*bed.store, lookup([key("a")]), |loaded| {
        let (order, payload) = begun(&key("a"), loaded.now, |_| {});
        let twice = telling(&key("a"), 1, 0);
        // The same row twice: the outbox refuses it, after order and journal were written.
        Changes {
            orders: vec![order],
            payloads: vec![payload],
            outbox: vec![twice.clone(), twice],
            ..Changes::default()
        }
    });
    assert!(matches!(refused.await, Err(StoreError::Refused(_))));
    assert_eq!(bed.store.find_order(key("a")).await.unwrap(), None);
    assert!(bed.store.audit(key("a"), 0, 10).await.unwrap().is_empty());
    assert_eq!(bed.store.payload(key("a"), 1).await.unwrap(), None);
    assert_eq!(bed.store.outbox_backlog().await.unwrap().rows, 0);
}

/// Begins the order, or counts a duplicate on it.
fn begin_or_count(loaded: &Loaded) -> Changes {
    match loaded.orders.get(&key("one")) {
        None => {
            let (order, payload) = begun(&key("one"), loaded.now, |_| {});
            Changes { orders: vec![order], payloads: vec![payload], ..Changes::default() }
        }
        Some(order) => {
            let mut saved = changed(order, loaded.now, Kind::Repeated, |_| {});
            saved.order.duplicates += 1;
            Changes { orders: vec![saved], ..Changes::default() }
        }
    }
}

pub async fn two_tasks_that_begin_one_order_make_one(bed: Bed) {
    let other = bed.another().await;
    let decided = Arc::new(AtomicU32::new(0));
    // Both have loaded nothing before either saves, where the database lets two write at once.
    let gate = Arc::new(std::sync::Barrier::new(2));
    let meet = bed.is_postgres();
    let tasks: Vec<_> = [Arc::clone(&bed.store), other]
        .into_iter()
        .map(|store| {
            let (decided, gate) = (Arc::clone(&decided), Arc::clone(&gate));
            tokio::spawn(async move {
                apply(&*store, lookup([key("one")]), move |loaded| {
                    if decided.fetch_add(1, Ordering::SeqCst) < 2 && meet {
                        tokio::task::block_in_place(|| gate.wait());
                    }
                    begin_or_count(loaded)
                })
                .await
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap().unwrap();
    }
    let order = bed.store.find_order(key("one")).await.unwrap().unwrap();
    assert_eq!((order.sequence, order.duplicates), (2, 1));
    assert_eq!(bed.store.verify(key("one")).await.unwrap(), Ok(2));
    assert_eq!(decided.load(Ordering::SeqCst), if meet { 3 } else { 2 });
}

pub async fn batches_on_the_same_orders_take_turns(bed: Bed) {
    let keys: Vec<_> = (0..8).map(|n| key(&format!("o{n}"))).collect();
    for key in &keys {
        begin_one(&*bed.store, key.clone(), |_, _| {}).await;
    }
    let tasks: Vec<_> = (0..6)
        .map(|_| {
            let (store, keys) = (Arc::clone(&bed.store), keys.clone());
            tokio::spawn(async move {
                for _ in 0..10 {
                    let changes = |loaded: &Loaded| Changes {
                        orders: loaded.orders.values().map(|it| changed(it, loaded.now, Kind::Late, |_| {})).collect(),
                        ..Changes::default()
                    };
                    apply(&*store, lookup(keys.clone()), changes).await.unwrap();
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    for key in keys {
        assert_eq!(bed.store.verify(key).await.unwrap(), Ok(61));
    }
}

pub async fn an_order_saved_without_being_loaded_is_refused(bed: Bed) {
    begin_one(&*bed.store, key("a"), |_, _| {}).await;
    let stale = bed.store.find_order(key("a")).await.unwrap().unwrap();
    change(&*bed.store, key("a"), Kind::Late, |_| {}).await;
    let saved = apply(&*bed.store, Lookup::default(), move |loaded| {
        let saved = changed(&stale, loaded.now, Kind::Late, |order| order.life.status = Status::Closed);
        Changes { orders: vec![saved], ..Changes::default() }
    });
    assert!(matches!(saved.await, Err(StoreError::Corrupt(_))));
    assert_eq!(bed.store.verify(key("a")).await.unwrap(), Ok(2));
}

pub async fn a_row_that_cannot_be_read_is_told_apart(bed: Bed) {
    begin_one(&*bed.store, key("good"), |_, _| {}).await;
    begin_one(&*bed.store, key("bad"), |_, _| {}).await;
    bed.raw("UPDATE orders SET state = '{' WHERE order_id = 'bad'").await.unwrap();
    let seen = apply(&*bed.store, lookup([key("good"), key("bad")]), |loaded| {
        assert_eq!(loaded.orders.keys().collect::<Vec<_>>(), [&key("good")]);
        assert_eq!(loaded.corrupt.keys().collect::<Vec<_>>(), [&key("bad")]);
        Changes::default()
    });
    seen.await.unwrap();
    assert!(matches!(bed.store.find_order(key("bad")).await, Err(StoreError::Corrupt(_))));
    assert!(bed.store.verify(key("bad")).await.unwrap().is_err());
}

pub async fn time_is_read_after_the_locks(bed: Bed) {
    begin_one(&*bed.store, key("a"), |_, _| {}).await;
    let (entered, inside) = std::sync::mpsc::channel();
    let first = tokio::spawn({
        let store = Arc::clone(&bed.store);
        async move {
            apply(&*store, lookup([key("a")]), move |loaded| {
                entered.send(()).ok();
                tokio::task::block_in_place(|| std::thread::sleep(Duration::from_millis(150)));
                let saved = changed(&loaded.orders[&key("a")], loaded.now, Kind::Late, |_| {});
                Changes { orders: vec![saved], ..Changes::default() }
            })
            .await
        }
    });
    tokio::task::spawn_blocking(move || inside.recv()).await.unwrap().unwrap();
    let second = apply(&*bed.store, lookup([key("a")]), |_| Changes::default()).await.unwrap();
    let first = first.await.unwrap().unwrap();
    assert!(second.now.0 >= first.now.0 + 100_000, "the second waited for the lock: {second:?} after {first:?}");
}

pub async fn arrivals_are_numbered_by_one_batch_at_a_time(bed: Bed) {
    let tasks: Vec<_> = (0..4)
        .map(|_| {
            let store = Arc::clone(&bed.store);
            tokio::spawn(async move {
                for _ in 0..5 {
                    let wanted = Lookup { arrivals: BTreeMap::from([("line".to_owned(), 3)]), ..Lookup::default() };
                    apply(&*store, wanted, |loaded| {
                        let line = &loaded.lines["line"];
                        assert!(line.len() <= 3 && line.iter().all(|key| loaded.orders.contains_key(key)));
                        let next = loaded.counters["line"] + 1;
                        let (order, payload) = begun(&of("line", &format!("arrival-{next}")), loaded.now, |_| {});
                        let counters = BTreeMap::from([("line".to_owned(), next)]);
                        Changes { orders: vec![order], payloads: vec![payload], counters, ..Changes::default() }
                    })
                    .await
                    .unwrap();
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let end = |order: &mut Order| order.life.status = Status::Closed;
    change(&*bed.store, of("line", "arrival-2"), Kind::Command, end).await;
    let wanted = Lookup { arrivals: BTreeMap::from([("line".to_owned(), 3)]), ..Lookup::default() };
    let seen = apply(&*bed.store, wanted, |loaded| {
        assert_eq!(loaded.counters["line"], 20);
        assert_eq!(loaded.lines["line"], ["arrival-1", "arrival-3", "arrival-4"].map(|id| of("line", id)));
        Changes::default()
    });
    seen.await.unwrap();
}

pub async fn stored_events_are_loaded_for_expressions(bed: Bed) {
    begin_one(&*bed.store, key("a"), |order, at| {
        order.steps[0].event = Some(Sighting { sequence: 1, name: "OrderPlaced".to_owned(), at });
        order.steps[1].parts = BTreeMap::from([("p".to_owned(), 1), ("gone".to_owned(), 9)]);
    })
    .await;
    let wanted = Lookup { sagas_reading_events: ["order".to_owned()].into(), ..lookup([key("a")]) };
    let seen = apply(&*bed.store, wanted, |loaded| {
        let found: Vec<_> = loaded.stored_events.iter().collect();
        let [(at, event)] = found.as_slice() else { panic!("one event is stored: {found:?}") };
        assert_eq!(**at, (key("a"), 1));
        let body: Value = serde_json::from_slice(event.body.as_deref().unwrap()).unwrap();
        assert_eq!((body, &event.envelope["headers"]), (json!({ "id": "a" }), &json!({ "kind": "test" })));
        Changes::default()
    });
    seen.await.unwrap();
    let seen = apply(&*bed.store, lookup([key("a")]), |loaded| {
        assert!(loaded.stored_events.is_empty(), "nobody asked");
        Changes::default()
    });
    seen.await.unwrap();
}

pub async fn a_panic_in_a_decision_leaves_the_store_usable(bed: Bed) {
    for _ in 0..20 {
        let store = Arc::clone(&bed.store);
        let task = tokio::spawn(async move {
            apply(&*store, lookup([key("a")]), |_| -> Changes { panic!("a decision that fails") }).await
        });
        assert!(task.await.unwrap_err().is_panic());
    }
    begin_one(&*bed.store, key("a"), |_, _| {}).await;
    assert_eq!(bed.store.verify(key("a")).await.unwrap(), Ok(1));
}

/// The pinned sqlx hands on a connection inside a transaction when a `begin` is cancelled; later writes are then lost.
pub async fn callers_that_go_away_leave_everything_consistent(bed: Bed) {
    let other = bed.another().await;
    for round in 0..150_u64 {
        let store = Arc::clone(&bed.store);
        let gone = async move {
            begin_one(&*store, key(&format!("gone-{round}")), |_, _| {}).await;
            let _ = store.find_order(key("x")).await;
        };
        // Somewhere between before the first poll and after the commit.
        let _ = tokio::time::timeout(Duration::from_micros(round * 17), gone).await;
        if round % 10 == 0 {
            let id = format!("kept-{round}");
            begin_one(&*bed.store, key(&id), |_, _| {}).await;
            assert!(other.find_order(key(&id)).await.unwrap().is_some(), "{id} was acknowledged and is not there");
        }
    }
    // What was begun is finished, by nobody waiting for it; then every order there is holds.
    let deadline = Instant::now() + Duration::from_secs(30);
    let mut before = None;
    loop {
        let now = other.count_orders(OrderFilter::default()).await.unwrap();
        if before == Some(now) {
            break;
        }
        assert!(Instant::now() < deadline, "orders keep coming");
        before = Some(now);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let keys = other.keys_after(None, 1_000).await.unwrap();
    assert_eq!(keys.iter().filter(|key| key.order_id.starts_with("kept-")).count(), 15);
    for key in keys {
        assert_eq!(other.verify(key).await.unwrap(), Ok(1));
    }
}

pub async fn text_with_nul_is_refused_and_kept_in_quarantine(bed: Bed) {
    let refused = apply(&*bed.store, lookup([key("ok")]), |loaded| {
        let (order, _) = begun(&key("a\0b"), loaded.now, |_| {});
        Changes { orders: vec![order], ..Changes::default() }
    });
    assert!(matches!(refused.await, Err(StoreError::Refused(_))));
    let looked_up = apply(&*bed.store, lookup([key("a\0b")]), |_| Changes::default()).await;
    assert!(matches!(looked_up, Err(StoreError::Refused(_))));
    let kept = apply(&*bed.store, Lookup::default(), |loaded| {
        let quarantined = Quarantined {
            reason: QuarantineReason::Refused,
            detail: "a\0b".to_owned(),
            saga: Some("order".to_owned()),
            event: Some("E\0".to_owned()),
            order_id: Some("a\0b".to_owned()),
            exchange: "x".to_owned(),
            routing_key: "k\0".to_owned(),
            envelope: json!({ "headers": { "h": "\0" } }),
            body: vec![0, 1, 255],
            body_bytes: 3,
        };
        let doubt = NewDoubt {
            kind: DoubtKind::Quarantine,
            saga: Some("order".to_owned()),
            from: loaded.now,
            to: loaded.now,
            event: Some("E\0".to_owned()),
            order_id: Some("a\0b".to_owned()),
            detail: "\0".to_owned(),
            quarantined: Some(0),
        };
        Changes { quarantined: vec![quarantined], doubts: vec![doubt], ..Changes::default() }
    });
    kept.await.unwrap();
    let page = Page { limit: 10, cursor: None };
    let listed = bed.store.quarantine(QuarantineFilter::default(), page).await.unwrap().items;
    assert_eq!(listed[0].order_id.as_deref(), Some("a\u{fffd}b"));
    assert_eq!(listed[0].body, [0, 1, 255]);
    assert_eq!(listed[0].envelope, json!({ "headers": { "h": "\0" } }));
}

pub async fn an_answered_command_is_remembered(bed: Bed) {
    let wanted = || Lookup { idempotency_key: Some("k-1".to_owned()), ..Lookup::default() };
    let answer = |loaded: &Loaded| match loaded.answered {
        Some(_) => Changes::default(),
        None => Changes { idempotency_key: Some("k-1".to_owned()), answers: vec![Ok(7)], ..Changes::default() },
    };
    let (one, two) = tokio::join!(apply(&*bed.store, wanted(), answer), apply(&*bed.store, wanted(), answer));
    let given = [one.unwrap(), two.unwrap()].iter().filter(|it| it.changes.idempotency_key.is_some()).count();
    assert_eq!(given, 1, "the second is told what the first became");
    let seen = apply(&*bed.store, wanted(), |loaded| {
        assert_eq!(loaded.answered, Some(7));
        Changes::default()
    });
    seen.await.unwrap();
}

pub async fn a_tap_remembers_its_last_batch_and_never_goes_back(bed: Bed) {
    let save = async |watermark: Option<i64>, last_batch: Vec<[u8; 32]>| {
        let tap = TapProgress { name: "default".to_owned(), watermark: watermark.map(Moment), last_batch };
        let saved = move |_: &Loaded| Changes { tap: Some(tap.clone()), ..Changes::default() };
        apply(&*bed.store, Lookup::default(), saved).await.unwrap();
    };
    assert_eq!(bed.store.tap("default".to_owned()).await.unwrap().watermark, None);
    save(None, vec![]).await;
    for (given, kept) in
        [(None, None), (Some(50), Some(50)), (Some(40), Some(50)), (None, Some(50)), (Some(60), Some(60))]
    {
        save(given, vec![[1; 32], [2; 32]]).await;
        let tap = bed.store.tap("default".to_owned()).await.unwrap();
        assert_eq!(tap.watermark, kept.map(Moment));
    }
    let wanted = Lookup { tap: Some("default".to_owned()), ..Lookup::default() };
    let seen = apply(&*bed.store, wanted.clone(), |loaded| {
        assert_eq!(loaded.last_batch, [[1; 32], [2; 32]]);
        assert_eq!(loaded.watermark, Some(Moment(60)));
        assert!(loaded.committed_at.is_some_and(|at| at <= loaded.now));
        Changes::default()
    });
    seen.await.unwrap();
    save(None, vec![]).await;
    let seen = apply(&*bed.store, wanted, |loaded| {
        assert!(loaded.last_batch.is_empty());
        Changes::default()
    });
    seen.await.unwrap();
}
