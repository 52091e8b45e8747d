//! What all replicas share about a saga: the brake's count, its latch, and the trail of what was changed.

use std::collections::BTreeSet;
use std::sync::mpsc;
use std::time::Duration;

use escrow::saga::batch::{Changes, Loaded, Lookup, SavedState};
use escrow::saga::brake::trail_of;
use escrow::saga::definition::{BrakeLimit, Mode};
use escrow::saga::journal::{Broken, Kind};
use escrow::saga::time::Span;
use escrow::store::{JournalFilter, Page};

use super::Bed;
use super::given::{apply, begin_one, key};

const LIMIT: BrakeLimit = BrakeLimit { orders: 30, per: Span::from_secs(3_600) };

fn asks_brake() -> Lookup {
    Lookup { states: BTreeSet::from(["order".to_owned()]), ..Lookup::default() }
}

/// One order of the saga would turn back by timeout.
fn turn_one(loaded: &Loaded) -> Changes {
    let mut state = loaded.states["order"].clone();
    let entries = if state.brake.holds(LIMIT, loaded.now) {
        state.latch("order", LIMIT, loaded.now).into_iter().collect()
    } else {
        state.count(LIMIT, loaded.now);
        Vec::new()
    };
    Changes { states: vec![SavedState { saga: "order".to_owned(), state, entries }], ..Changes::default() }
}

pub async fn turned_orders_are_counted_by_one_batch_at_a_time(bed: Bed) {
    let mut tasks = Vec::new();
    for _ in 0..4 {
        let store = bed.another().await;
        tasks.push(tokio::spawn(async move {
            for _ in 0..10 {
                apply(&*store, asks_brake(), turn_one).await.unwrap();
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    let state = bed.store.saga_states().await.unwrap()["order"].clone();
    let turned: u32 = state.brake.turned.iter().map(|(_, count)| count).sum();
    assert_eq!(
        (turned, state.brake.latched_at.is_some(), state.sequence),
        (30, true, 1),
        "30, and one entry for the other 10"
    );
    let trail = bed.store.audit(trail_of("order"), 0, 10).await.unwrap();
    assert_eq!((trail.len(), trail[0].kind, Some(trail[0].at)), (1, Kind::Deadline, state.brake.latched_at));
}

pub async fn a_batch_that_turns_nothing_back_does_not_wait_for_the_brake(bed: Bed) {
    if !bed.is_postgres() {
        // One transaction writes at a time there, whatever it touches.
        return;
    }
    apply(&*bed.store, asks_brake(), turn_one).await.unwrap();
    let (let_go, wait) = mpsc::channel::<()>();
    let (holds, held) = tokio::sync::oneshot::channel();
    let (wait, holds) = (std::sync::Mutex::new(wait), std::sync::Mutex::new(Some(holds)));
    let other = bed.another().await;
    let holder = tokio::spawn(async move {
        apply(&*other, asks_brake(), move |loaded| {
            holds.lock().unwrap().take().map(|it| it.send(()));
            tokio::task::block_in_place(|| wait.lock().unwrap().recv_timeout(Duration::from_mins(1))).unwrap();
            turn_one(loaded)
        })
        .await
    });
    held.await.unwrap();
    begin_one(&*bed.store, key("a"), |_, _| {}).await;
    assert!(!holder.is_finished(), "the brake is locked still");
    let_go.send(()).unwrap();
    holder.await.unwrap().unwrap();
}

pub async fn what_is_changed_about_a_saga_is_a_trail_of_its_own(bed: Bed) {
    let store = &*bed.store;
    begin_one(store, key("a"), |_, _| {}).await;
    store.set_mode("order".to_owned(), Mode::Observe, "ann".to_owned(), "a try".to_owned()).await.unwrap();
    apply(store, asks_brake(), turn_one).await.unwrap();
    let was = store.reset_brake("order".to_owned(), "bob".to_owned(), "the cause is found".to_owned()).await.unwrap();
    assert_eq!((was.turned.len(), was.latched_at), (1, None));
    assert_eq!(store.saga_states().await.unwrap()["order"].brake, escrow::saga::brake::Brake::default());
    let list = async |filter: JournalFilter| {
        let listed = store.journal(filter, Page { limit: 10, cursor: None }).await.unwrap();
        listed.items.iter().map(|row| (row.key.order_id.clone(), row.sequence)).collect::<Vec<_>>()
    };
    let about = |sequence| (String::new(), sequence);
    assert_eq!(list(JournalFilter::default()).await, [about(2), about(1), ("a".to_owned(), 1)]);
    assert_eq!(list(JournalFilter { actor: Some("bob".to_owned()), ..JournalFilter::default() }).await, [about(2)]);
    assert_eq!(
        list(JournalFilter { kinds: vec![Kind::Command], ..JournalFilter::default() }).await,
        [about(2), about(1)]
    );
    assert_eq!(store.verify(trail_of("order")).await.unwrap(), Ok(2));
    assert_eq!(store.verify(trail_of("other")).await.unwrap(), Ok(0));
    // Someone with the database's password makes it look as if nobody had taken the brake off.
    let off = if bed.is_postgres() {
        "ALTER TABLE journal DISABLE TRIGGER journal_append_only"
    } else {
        "DROP TRIGGER journal_never_deleted"
    };
    bed.raw(off).await.unwrap();
    bed.raw("DELETE FROM journal WHERE order_id = '' AND sequence = 2").await.unwrap();
    assert_eq!(
        store.verify(trail_of("order")).await.unwrap(),
        Err(Broken::Fold { what: "the head of the saga's trail" })
    );
}
