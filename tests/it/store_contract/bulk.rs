//! Actions on many orders: which they are, whose turn it is, and that each gets its outcome once.

use std::collections::BTreeMap;

use escrow::saga::input::Action;
use escrow::saga::order::{Need, Status, StepStatus, StuckReason};
use escrow::saga::time::{Moment, Span};
use escrow::store::{
    Bulk, BulkAsk, BulkOrder, BulkOutcome, BulkState, BulkTask, BulkTurn, NamedOrder, OrderFilter, Page, Store,
};
use serde_json::json;
use uuid::Uuid;

use super::Bed;
use super::given::{attribute, begin_one, key, of};

const LONG: Span = Span::from_secs(3_600);

fn ask(filter: OrderFilter) -> BulkAsk {
    BulkAsk {
        filter,
        given: BTreeMap::from([("status".to_owned(), "stuck".to_owned())]),
        action: Action::Extend(Span::from_secs(60)),
        step: Some("payment".to_owned()),
        actor: "ann".to_owned(),
        reason: "it is back".to_owned(),
        every: Span(0),
        named: 0,
    }
}

/// Orders `a`, `b` and `c`, stuck in this sequence, and one that runs.
async fn three_stuck(store: &dyn Store) {
    for id in ["a", "b", "c"] {
        begin_one(store, key(id), |order, now| {
            order.steps[1].status = StepStatus::TimedOut;
            order.life.status = Status::Stuck;
            order.life.needs = vec![Need { reason: StuckReason::Held, step: Some(1), since: now, detail: None }];
            order.attributes.insert("customer".to_owned(), attribute(json!("jo")));
        })
        .await;
    }
    begin_one(store, key("runs"), |_, _| {}).await;
}

fn stuck() -> OrderFilter {
    OrderFilter { statuses: vec![Status::Stuck], ..OrderFilter::default() }
}

async fn begin(store: &dyn Store, filter: OrderFilter) -> Bulk {
    store.begin_bulk(Uuid::new_v4(), ask(filter)).await.unwrap().unwrap()
}

async fn orders(store: &dyn Store, id: Uuid, outcome: Option<&str>) -> Vec<BulkOrder> {
    let page = Page { limit: 10, cursor: None };
    store.bulk_orders(id, outcome.map(str::to_owned), page).await.unwrap().items
}

async fn claimed(store: &dyn Store, owner: Uuid) -> Option<Box<BulkTask>> {
    match store.claim_bulk(owner, LONG).await.unwrap() {
        BulkTurn::Order(task) => Some(task),
        BulkTurn::Nothing(_) => None,
    }
}

pub async fn a_filter_names_the_orders_of_one_moment(bed: Bed) {
    let store = &*bed.store;
    three_stuck(store).await;
    begin_one(store, of("other", "a"), |_, _| {}).await;
    let ids = async |filter: OrderFilter| {
        let bulk = begin(store, filter).await;
        let ids: Vec<String> = orders(store, bulk.id, None).await.into_iter().map(|it| it.key.to_string()).collect();
        assert_eq!(bulk.total, ids.len() as u64);
        ids.join(" ")
    };
    let all = "order/a order/b order/c";
    assert_eq!(ids(stuck()).await, all, "the oldest first");
    assert_eq!(ids(OrderFilter { reasons: vec![StuckReason::Held], ..OrderFilter::default() }).await, all);
    assert_eq!(ids(OrderFilter { waiting_on: vec!["payment".to_owned()], ..stuck() }).await, all);
    let customer = vec![("customer".to_owned(), "jo".to_owned())];
    assert_eq!(ids(OrderFilter { attributes: customer, ..OrderFilter::default() }).await, all);
    assert_eq!(ids(OrderFilter { order_id: Some("a".to_owned()), ..OrderFilter::default() }).await, "order/a other/a");
    assert_eq!(ids(OrderFilter { waiting_on: vec!["nothing".to_owned()], ..stuck() }).await, "");

    let named = |ids: &[(&str, Option<&str>)]| OrderFilter {
        named: ids
            .iter()
            .map(|(id, saga)| NamedOrder { order_id: (*id).to_owned(), saga: saga.map(str::to_owned) })
            .collect(),
        ..OrderFilter::default()
    };
    assert_eq!(ids(named(&[("c", None), ("a", Some("other")), ("b", None)])).await, "order/b order/c other/a");
    // Named twice, in one saga and in all: once. One that is not there is not among them.
    assert_eq!(ids(named(&[("a", None), ("a", Some("order")), ("a", None), ("z", None)])).await, "order/a other/a");
    assert_eq!(ids(OrderFilter { named: named(&[("a", None)]).named, ..stuck() }).await, "order/a");
    let kept = begin(store, named(&[("a", None), ("z", None)])).await.ask;
    assert_eq!((kept.named, kept.filter), (2, OrderFilter::default()), "how many, and not which");

    let id = Uuid::new_v4();
    let first = store.begin_bulk(id, ask(stuck())).await.unwrap().unwrap();
    begin_one(store, key("late"), |order, _| order.life.status = Status::Stuck).await;
    let again = store.begin_bulk(id, ask(OrderFilter::default())).await.unwrap().unwrap();
    assert_eq!((again.total, &again), (3, &first), "the same id is the same action");
    assert_eq!((first.state, first.ask), (BulkState::Running, ask(stuck())));
    let page = Page { limit: 2, cursor: None };
    let page = store.bulk_orders(id, None, page).await.unwrap();
    let rest = store.bulk_orders(id, None, Page { limit: 2, cursor: page.next_cursor }).await.unwrap();
    assert_eq!((rest.items.len(), &rest.items[0].key, rest.next_cursor), (1, &key("c"), None));
}

pub async fn actions_are_listed_newest_first_by_every_state(bed: Bed) {
    let store = &*bed.store;
    three_stuck(store).await;
    let mut begun = Vec::new();
    for at in 0..5 {
        let bulk = begin(store, stuck()).await;
        // Two of one moment.
        bed.raw(&format!("UPDATE bulk_actions SET created_at = {} WHERE id = '{}'", at / 2, bulk.id)).await.unwrap();
        begun.push((at / 2, bulk.id));
    }
    begun.sort_unstable();
    begun.reverse();
    let expected: Vec<Uuid> = begun.iter().map(|it| it.1).collect();
    store.stop_bulk(expected[1], "bob".to_owned(), "too many".to_owned()).await.unwrap();
    let listed = async |state: Option<BulkState>| {
        let (mut found, mut cursor) = (Vec::new(), None);
        loop {
            let page = store.bulks(state, Page { limit: 2, cursor }).await.unwrap();
            found.extend(page.items.into_iter().map(|it| it.id));
            cursor = page.next_cursor;
            if cursor.is_none() {
                return found;
            }
        }
    };
    assert_eq!(listed(None).await, expected);
    assert_eq!(listed(Some(BulkState::Stopped)).await, [expected[1]]);
    assert_eq!(listed(Some(BulkState::Running)).await.len(), 4);
    let one = store.bulks(None, Page { limit: 1, cursor: None }).await.unwrap().items.remove(0);
    assert_eq!(Some(one), store.bulk(expected[0]).await.unwrap(), "with all that is known of it");
}

pub async fn one_replica_at_a_time_carries_an_action_on(bed: Bed) {
    let store = &*bed.store;
    three_stuck(store).await;
    let bulk = begin(store, stuck()).await;
    let (one, other) = (Uuid::new_v4(), Uuid::new_v4());
    let first = claimed(store, one).await.unwrap();
    assert_eq!((first.id, &first.key, first.place, first.answered), (bulk.id, &key("a"), 1, None));
    assert_eq!(claimed(store, other).await, None, "it is leased");
    assert_eq!(
        claimed(store, one).await.unwrap(),
        first,
        "until it is settled it is the same order, under the same key"
    );
    store.settle_bulk(bulk.id, 1, BulkOutcome::Done(7), Span(0)).await.unwrap();
    store.settle_bulk(bulk.id, 1, BulkOutcome::Gone, Span(0)).await.unwrap();
    assert_eq!(orders(store, bulk.id, None).await[0].outcome, Some(BulkOutcome::Done(7)), "the first word stays");
    let second = claimed(store, one).await.unwrap();
    assert_ne!(second.once, first.once);
    // Its lease ends, and the other carries on.
    let BulkTurn::Order(again) = store.claim_bulk(one, Span(0)).await.unwrap() else { panic!("it is its own") };
    assert_eq!(claimed(store, other).await.unwrap(), again);
    store.settle_bulk(bulk.id, 2, BulkOutcome::Refused("it \0 is ended".to_owned()), LONG).await.unwrap();
    // The next is due an hour later, for everybody.
    let BulkTurn::Nothing(Some(after)) = store.claim_bulk(other, LONG).await.unwrap() else { panic!("not yet") };
    assert!(after > Span(0) && after <= LONG, "{after}");
    let found = store.bulk(bulk.id).await.unwrap().unwrap();
    assert_eq!((found.done, found.refused, found.gone, found.state), (1, 1, 0, BulkState::Running));
    assert_eq!(orders(store, bulk.id, Some("refused")).await.len(), 1);
    store.settle_bulk(bulk.id, 3, BulkOutcome::Gone, LONG).await.unwrap();
    let found = store.bulk(bulk.id).await.unwrap().unwrap();
    assert_eq!((found.gone, found.state, found.ended_at.is_some()), (1, BulkState::Done, true));
    assert_eq!(store.claim_bulk(other, LONG).await.unwrap(), BulkTurn::Nothing(None));
}

pub async fn a_person_stops_an_action_and_what_ended_is_forgotten(bed: Bed) {
    let store = &*bed.store;
    three_stuck(store).await;
    let bulk = begin(store, stuck()).await;
    let task = claimed(store, Uuid::new_v4()).await.unwrap();
    let stop = async || store.stop_bulk(bulk.id, "bob".to_owned(), "too many".to_owned()).await.unwrap().unwrap();
    let stopped = stop().await;
    assert_eq!((stopped.state, stopped.stopped_by.as_deref()), (BulkState::Stopped, Some("bob")));
    assert_eq!(claimed(store, Uuid::new_v4()).await, None);
    // What was in hand is written down all the same.
    store.settle_bulk(task.id, task.place, BulkOutcome::Done(2), Span(0)).await.unwrap();
    let found = stop().await;
    assert_eq!((found.done, found.state, found.ended_at), (1, BulkState::Stopped, stopped.ended_at));
    assert!(store.stop_bulk(Uuid::new_v4(), "bob".to_owned(), "none".to_owned()).await.unwrap().is_none());
    let empty = begin(store, OrderFilter { sagas: vec!["none".to_owned()], ..stuck() }).await;
    assert_eq!((empty.total, empty.state, empty.ended_at), (0, BulkState::Done, Some(empty.created_at)));
    let running = begin(store, stuck()).await;
    // One that somebody broke does not hold up the next.
    let broken = begin(store, stuck()).await;
    bed.raw(&format!("UPDATE bulk_actions SET ask = '{{', next_at = 0 WHERE id = '{}'", broken.id)).await.unwrap();
    assert_eq!(claimed(store, Uuid::new_v4()).await.unwrap().id, running.id);
    let why = bed
        .lines("SELECT stopped_by || ': ' || stopped_reason AS line FROM bulk_actions WHERE ask = '{'", "line")
        .await;
    assert!(why[0].starts_with("escrow: stored data cannot be read: ask"), "{why:?}");

    assert_eq!(store.purge(found.created_at).await.unwrap(), 0);
    assert_eq!(store.purge(Moment(store.now().await.unwrap().0 + 1)).await.unwrap(), 9, "three actions, six orders");
    assert!(store.bulk(bulk.id).await.unwrap().is_none() && store.bulk(running.id).await.unwrap().is_some());
    assert_eq!(orders(store, running.id, None).await.len(), 3);
}
