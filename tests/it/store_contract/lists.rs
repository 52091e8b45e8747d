//! Lists of orders: every filter, pages that hold, deadlines, groups.

use std::collections::{BTreeMap, BTreeSet};

use escrow::saga::journal::Kind;
use escrow::saga::order::{Need, Order, Status, StepStatus, StuckReason, Turn, TurnPhase};
use escrow::saga::time::{Moment, Span};
use escrow::store::{OrderFilter, Page, StoreError};
use serde_json::json;

use super::Bed;
use super::given::{Change, attribute, begin, begin_one, change, key, of, watermark};

/// All ids, page by page.
async fn ids(bed: &Bed, filter: &OrderFilter, limit: usize) -> Vec<String> {
    let (mut ids, mut page) = (Vec::new(), Page { limit, cursor: None });
    loop {
        let listed = bed.store.list_orders(filter.clone(), page.clone()).await.unwrap();
        assert!(listed.items.len() <= limit);
        ids.extend(listed.items.into_iter().map(|order| order.key.order_id));
        page.cursor = listed.next_cursor;
        if page.cursor.is_none() {
            return ids;
        }
    }
}

pub async fn pages_hold_while_data_changes(bed: Bed) {
    let store = &*bed.store;
    // One batch, one moment of creation: the key decides among them.
    let many = (0..25).map(|n| (of(["x", "y"][n % 2], &format!("o{n:02}")), Box::new(|_: &mut _, _| {}) as Change));
    begin(store, many.collect()).await;
    let (mut seen, mut page) = (Vec::new(), Page { limit: 4, cursor: None });
    loop {
        let listed = store.list_orders(OrderFilter::default(), page.clone()).await.unwrap();
        seen.extend(listed.items.into_iter().map(|order| order.key));
        // New orders come before the first page; a change of status moves nothing.
        begin_one(store, of("x", &format!("new-{}", seen.len())), |_, _| {}).await;
        let end = |order: &mut Order| order.life.status = Status::Closed;
        change(store, seen[0].clone(), Kind::Command, end).await;
        page.cursor = listed.next_cursor;
        if page.cursor.is_none() {
            break;
        }
    }
    assert_eq!(seen.len(), 25);
    assert!(seen.iter().all(|key| key.order_id.starts_with('o')));
    let mut sorted = seen.clone();
    sorted.sort_by(|a, b| b.cmp(a));
    assert_eq!(seen, sorted, "of one moment, the greatest key first");
}

fn stuck(order: &mut Order, reason: StuckReason, step: usize, since: Moment) {
    order.life.status = Status::Stuck;
    order.life.needs = vec![Need { reason, step: Some(step), since, detail: None }];
}

async fn prepare(bed: &Bed) {
    let store = &*bed.store;
    begin_one(store, key("plain"), |_, _| {}).await;
    begin_one(store, key("both"), |order, now| {
        order.steps[2].status = StepStatus::Waiting;
        order.steps[2].opened_at = Some(now - Span::from_secs(3_600));
        order.attributes.insert("customer".to_owned(), attribute(json!("John Doe")));
        order.attributes.insert("size".to_owned(), attribute(json!(12)));
    })
    .await;
    begin_one(store, of("other", "stuck"), |order, now| {
        order.steps[1].status = StepStatus::TimedOut;
        stuck(order, StuckReason::TimedOut, 1, now);
        order.attributes.insert("customer".to_owned(), attribute(json!("John Doe")));
    })
    .await;
    begin_one(store, key("ended"), |order, _| order.life.status = Status::Completed).await;
    begin_one(store, key("undoing"), |order, now| {
        order.life.status = Status::Compensating;
        let phase = TurnPhase::Turned(now - Span::from_secs(7_200));
        let cause = escrow::saga::order::Cause::TimedOut(1);
        order.life.turn = Some(Turn { cause, phase, vouched: false, reason: "late".to_owned() });
        order.steps[0].status = StepStatus::Compensating;
        order.steps[1].status = StepStatus::TimedOut;
        order.attributes.insert("note".to_owned(), attribute(json!("x".repeat(5_000))));
    })
    .await;
}

pub async fn every_filter_finds_what_it_names(bed: Bed) {
    prepare(&bed).await;
    let text = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect::<Vec<_>>();
    let pairs = |pairs: &[(&str, &str)]| {
        pairs.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect::<Vec<_>>()
    };
    let any = OrderFilter::default;
    let long = "x".repeat(5_000);
    let longer = "x".repeat(5_001);
    let cases = [
        (any(), text(&["undoing", "ended", "stuck", "both", "plain"])),
        (OrderFilter { order_id: Some("both".to_owned()), ..any() }, text(&["both"])),
        (OrderFilter { order_id: Some("both".to_owned()), sagas: text(&["other"]), ..any() }, text(&[])),
        (OrderFilter { sagas: text(&["other", "other"]), ..any() }, text(&["stuck"])),
        (OrderFilter { sagas: text(&["none"]), ..any() }, text(&[])),
        (OrderFilter { statuses: vec![Status::Running, Status::Stuck], ..any() }, text(&["stuck", "both", "plain"])),
        (OrderFilter { waiting_on: text(&["payment"]), ..any() }, text(&["stuck", "both", "plain"])),
        (OrderFilter { waiting_on: text(&["inventory", "placed"]), ..any() }, text(&["undoing", "both"])),
        (OrderFilter { waiting_on: text(&["pay"]), ..any() }, text(&[])),
        (OrderFilter { waiting_on: text(&["payment"]), statuses: vec![Status::Stuck], ..any() }, text(&["stuck"])),
        (OrderFilter { reasons: vec![StuckReason::TimedOut, StuckReason::Held], ..any() }, text(&["stuck"])),
        (OrderFilter { reasons: vec![StuckReason::Held], ..any() }, text(&[])),
        (OrderFilter { stuck_step: Some("payment".to_owned()), ..any() }, text(&["stuck"])),
        (OrderFilter { stuck_step: Some("placed".to_owned()), ..any() }, text(&[])),
        (OrderFilter { older_than: Some(Span::from_secs(600)), ..any() }, text(&["undoing", "both"])),
        (OrderFilter { older_than: Some(Span::from_secs(5_000)), ..any() }, text(&["undoing"])),
        (OrderFilter { attributes: pairs(&[("customer", "John Doe")]), ..any() }, text(&["stuck", "both"])),
        (OrderFilter { attributes: pairs(&[("customer", "John Doe"), ("size", "12")]), ..any() }, text(&["both"])),
        (OrderFilter { attributes: pairs(&[("customer", "12")]), ..any() }, text(&[])),
        (OrderFilter { attributes: pairs(&[("note", &long)]), ..any() }, text(&["undoing"])),
        (OrderFilter { attributes: pairs(&[("note", &longer)]), ..any() }, text(&[])),
    ];
    for (filter, expected) in cases {
        for limit in [1, 2, 100] {
            assert_eq!(ids(&bed, &filter, limit).await, expected, "{filter:?}");
        }
        let counted = bed.store.count_orders(filter.clone()).await.unwrap();
        assert_eq!(counted, expected.len() as u64, "{filter:?}");
    }
    let counts = bed.store.count_by_status().await.unwrap();
    let counts: BTreeSet<_> = counts.iter().map(|it| (it.saga.as_str(), it.status, it.count)).collect();
    assert_eq!(counts.len(), 4);
    assert!(counts.contains(&("order", Status::Running, 2)) && counts.contains(&("other", Status::Stuck, 1)));
    let open = bed.store.count_open().await.unwrap();
    let waiting = open.waiting.iter().map(|it| (it.saga.as_str(), it.step.as_str()));
    let mut waiting: Vec<_> = waiting.zip(open.waiting.iter().map(|it| it.count)).collect();
    waiting.sort_unstable();
    // Those that wait for two steps have a row of their own.
    let each = [("inventory", 1), ("payment", 1), ("payment", 1), ("placed", 1)].map(|(step, n)| (("order", step), n));
    assert_eq!(waiting, [&each[..], &[(("other", "payment"), 1)]].concat());
}

pub async fn an_order_stuck_for_several_reasons_is_listed_under_each(bed: Bed) {
    let needs = |needs: &[(StuckReason, Option<usize>)]| -> Change {
        let need = |&(reason, step)| Need { reason, step, since: Moment(100), detail: None };
        let needs: Vec<Need> = needs.iter().map(need).collect();
        Box::new(move |order, _| (order.life.status, order.life.needs) = (Status::Stuck, needs.clone()))
    };
    let (out, held, whole) = (StuckReason::TimedOut, StuckReason::Held, StuckReason::OrderOverdue);
    let given = [
        ("a", needs(&[(held, Some(1))])),
        ("b", needs(&[(out, Some(2)), (held, Some(1)), (whole, None)])),
        ("c", needs(&[(out, Some(2)), (whole, None), (held, Some(1)), (out, Some(0))])),
        ("d", needs(&[(out, Some(1)), (out, Some(2))])),
    ];
    for (id, needs) in given {
        begin_one(&*bed.store, key(id), needs).await;
    }
    let by = |reasons: &[StuckReason], step: Option<&str>| OrderFilter {
        reasons: reasons.to_vec(),
        stuck_step: step.map(str::to_owned),
        ..OrderFilter::default()
    };
    let cases = [
        (by(&[held], None), "cba"),
        (by(&[out], None), "dcb"),
        (by(&[whole], None), "cb"),
        (by(&[held, whole, out], None), "dcba"),
        (by(&[StuckReason::Failed], None), ""),
        // A step is of the first need, as in the groups that incidents are made of.
        (by(&[held], Some("payment")), "a"),
        (by(&[out], Some("inventory")), "cb"),
        (by(&[], Some("inventory")), "cb"),
    ];
    for (filter, expected) in cases {
        for limit in [1, 10] {
            assert_eq!(ids(&bed, &filter, limit).await.concat(), expected, "{filter:?}");
        }
        assert_eq!(bed.store.count_orders(filter.clone()).await.unwrap(), expected.len() as u64, "{filter:?}");
    }
    // An order is in one group alone, or its incident would count it twice.
    let groups = bed.store.stuck_groups().await.unwrap();
    let groups: BTreeSet<_> = groups.iter().map(|it| (it.reason.word(), it.step.as_deref(), it.count)).collect();
    let expected =
        [("held", Some("payment"), 1), ("timed_out", Some("inventory"), 2), ("timed_out", Some("payment"), 1)];
    assert_eq!(groups, BTreeSet::from(expected));
    // What is settled is not listed any more.
    change(&*bed.store, key("b"), Kind::Command, |order| {
        order.life.needs.retain(|need| need.reason == StuckReason::TimedOut);
    })
    .await;
    assert_eq!(ids(&bed, &by(&[held], None), 10).await.concat(), "ca");
}

pub async fn changed_attributes_are_found_by_their_new_value(bed: Bed) {
    begin_one(&*bed.store, key("a"), |order, _| {
        order.attributes.insert("customer".to_owned(), attribute(json!("old")));
        order.attributes.insert("size".to_owned(), attribute(json!(1)));
    })
    .await;
    change(&*bed.store, key("a"), Kind::Event, |order| {
        order.attributes.insert("customer".to_owned(), attribute(json!("new")));
    })
    .await;
    let by = |name: &str, value: &str| OrderFilter {
        attributes: vec![(name.to_owned(), value.to_owned())],
        ..OrderFilter::default()
    };
    assert!(ids(&bed, &by("customer", "old"), 10).await.is_empty());
    assert_eq!(ids(&bed, &by("customer", "new"), 10).await, ["a"]);
    assert_eq!(ids(&bed, &by("size", "1"), 10).await, ["a"]);
}

pub async fn due_orders_come_by_the_watermark_of_their_saga(bed: Bed) {
    let store = &*bed.store;
    assert_eq!(store.next_due(None).await.unwrap(), None);
    for (saga, id, due) in [("order", "a", 30), ("order", "b", 10), ("other", "c", 20), ("blind", "d", 5)] {
        begin_one(store, of(saga, id), move |order, _| order.steps[1].deadline = Some(Moment(due))).await;
    }
    begin_one(store, key("none"), |_, _| {}).await;
    let due = async |watermarks: BTreeMap<String, Moment>, limit| {
        let keys = store.due_orders(watermarks, limit).await.unwrap();
        keys.into_iter().map(|key| key.order_id).collect::<Vec<_>>()
    };
    assert_eq!(due(watermark(Moment(10)), 10).await, ["b"]);
    let mut both = watermark(Moment(30));
    both.insert("other".to_owned(), Moment(20));
    assert_eq!(due(both.clone(), 10).await, ["b", "c", "a"]);
    assert_eq!(due(both, 2).await, ["b", "c"]);
    assert!(due(BTreeMap::new(), 10).await.is_empty());
    assert_eq!(store.next_due(None).await.unwrap(), Some(Moment(5)));
    assert_eq!(store.next_due(Some(Moment(10))).await.unwrap(), Some(Moment(20)));
    assert_eq!(store.next_due(Some(Moment(30))).await.unwrap(), None);
    change(store, key("b"), Kind::Event, |order| order.steps[1].deadline = None).await;
    assert!(due(watermark(Moment(10)), 10).await.is_empty());
}

pub async fn keys_are_walked_in_order(bed: Bed) {
    let mut keys: Vec<_> = ["b", "A", "a", "ä", "_", "10", "9"].map(|id| of("s", id)).into();
    keys.push(of("r", "a"));
    for key in &keys {
        begin_one(&*bed.store, key.clone(), |_, _| {}).await;
    }
    let (mut walked, mut after) = (Vec::new(), None);
    loop {
        let some = bed.store.keys_after(after.clone(), 3).await.unwrap();
        if some.is_empty() {
            break;
        }
        walked.extend(some);
        after = walked.last().cloned();
    }
    // By bytes, as the program sorts, whatever the language of the database.
    keys.sort_by(|a, b| (&a.order_id, &a.saga).cmp(&(&b.order_id, &b.saga)));
    assert_eq!(walked, keys);
}

pub async fn stuck_orders_are_grouped(bed: Bed) {
    for n in 0..12_i64 {
        begin_one(&*bed.store, key(&format!("o{n:02}")), move |order, _| {
            stuck(order, StuckReason::TimedOut, 2, Moment(100 + n));
        })
        .await;
    }
    begin_one(&*bed.store, key("whole"), |order, _| {
        stuck(order, StuckReason::OrderOverdue, 0, Moment(7));
        order.life.needs[0].step = None;
    })
    .await;
    let groups = bed.store.stuck_groups().await.unwrap();
    let shown: Vec<_> = groups.iter().map(|it| (it.reason, it.step.as_deref(), it.count, it.samples.len())).collect();
    assert_eq!(shown, [(StuckReason::TimedOut, Some("inventory"), 12, 10), (StuckReason::OrderOverdue, None, 1, 1)]);
    assert_eq!((groups[0].first_at, groups[0].last_at), (Moment(100), Moment(111)));
    assert_eq!(groups[0].samples[..2], ["o00", "o01"]);
}

pub async fn a_wrong_cursor_is_told_apart(bed: Bed) {
    for cursor in ["", "nonsense", "bnVsbA", "WzEsMiwzXQ"] {
        let page = Page { limit: 10, cursor: Some(cursor.to_owned()) };
        let listed = bed.store.list_orders(OrderFilter::default(), page).await;
        assert!(matches!(listed, Err(StoreError::BadCursor)), "{cursor}");
    }
}
