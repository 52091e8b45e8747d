//! Definitions, modes, taps, bindings, and the tables themselves.

use std::collections::BTreeMap;
use std::time::Duration;

use escrow::saga::brake::trail_of;
use escrow::saga::definition::Mode;
use escrow::saga::journal::Kind;
use escrow::saga::order::Status;
use escrow::saga::time::{Moment, Span};
use escrow::store::{self, BindingRow, NewDefinition, StoreError, SwitchTo};

use super::Bed;
use super::given::{begin_one, key};

fn definition(version: u32, fingerprint: u8, text: &str, mode: Mode) -> NewDefinition {
    NewDefinition { saga: "order".to_owned(), version, text: text.to_owned(), fingerprint: [fingerprint; 32], mode }
}

pub async fn definitions_are_stored_once_and_count_their_open_orders(bed: Bed) {
    let store = &*bed.store;
    store.save_definition(definition(1, 1, "one", Mode::Observe)).await.unwrap();
    store.save_definition(definition(2, 2, "two", Mode::Act)).await.unwrap();
    // The same meaning in other words.
    store.save_definition(definition(2, 2, "two, with a comment", Mode::Act)).await.unwrap();
    let other = store.save_definition(definition(2, 3, "another meaning", Mode::Act)).await;
    assert!(matches!(other, Err(StoreError::Refused(_))));
    for (id, version, status) in
        [("a", 1, Status::Running), ("b", 2, Status::Stuck), ("c", 2, Status::Running), ("d", 2, Status::Completed)]
    {
        begin_one(store, key(id), move |order, _| (order.version, order.life.status) = (version, status)).await;
    }
    let stored = store.definitions().await.unwrap();
    let shown: Vec<_> =
        stored.iter().map(|it| (it.version, it.text.as_str(), it.fingerprint[0], it.open_orders)).collect();
    assert_eq!(shown, [(1, "one", 1, 1), (2, "two, with a comment", 2, 2)]);
    assert_eq!(store.modes().await.unwrap(), BTreeMap::from([("order".to_owned(), Mode::Observe)]));
}

pub async fn of_versions_applied_at_once_the_highest_opens_orders(bed: Bed) {
    for round in 0..20 {
        let saga = format!("saga-{round}");
        let version = |version: u32| NewDefinition { saga: saga.clone(), ..definition(version, 1, "one", Mode::Act) };
        bed.store.save_definition(version(1)).await.unwrap();
        let (other, low, high) = (bed.another().await, version(2), version(3));
        let (low, high) = tokio::join!(bed.store.save_definition(low), other.save_definition(high));
        assert!(low.is_ok() && high.is_ok());
        let stored = bed.store.definitions().await.unwrap();
        let last = stored.iter().filter(|row| row.saga == saga).max_by_key(|row| row.applied_at).unwrap();
        assert_eq!(last.version, 3);
        bed.store.save_definition(version(2)).await.unwrap();
        assert_eq!(bed.store.definitions().await.unwrap(), stored, "a lower version changes nothing");
        // Going back is a command.
        bed.store.apply_version(saga.clone(), 1, "ada".to_owned(), "3 is broken".to_owned()).await.unwrap();
        let stored = bed.store.definitions().await.unwrap();
        let last = stored.iter().filter(|row| row.saga == saga).max_by_key(|row| row.applied_at).unwrap();
        assert_eq!(last.version, 1);
    }
    let unknown = bed.store.apply_version("saga-0".to_owned(), 9, "ada".to_owned(), "why".to_owned()).await;
    assert!(matches!(unknown, Err(StoreError::Refused(_))));
    let trail = bed.store.audit(trail_of("saga-0"), 0, 10).await.unwrap();
    let [change] = trail.as_slice() else { panic!("{trail:?}") };
    assert_eq!((change.kind, change.actor.as_deref()), (Kind::Command, Some("ada")));
    assert!(change.text.contains("version_1") && change.text.contains("3 is broken"), "{}", change.text);
}

pub async fn modes_are_set_first_by_a_definition_and_then_by_people(bed: Bed) {
    let store = &*bed.store;
    store.save_definition(definition(1, 1, "one", Mode::Observe)).await.unwrap();
    store.set_mode("order".to_owned(), Mode::Act, "ada".to_owned(), "tried for a week".to_owned()).await.unwrap();
    store.save_definition(definition(2, 2, "two", Mode::Observe)).await.unwrap();
    assert_eq!(store.modes().await.unwrap(), BTreeMap::from([("order".to_owned(), Mode::Act)]));
    let about = trail_of("order");
    let trail = store.audit(about.clone(), 0, 10).await.unwrap();
    let [change] = trail.as_slice() else { panic!("{trail:?}") };
    assert_eq!((change.kind, change.actor.as_deref(), change.sequence), (Kind::Command, Some("ada"), 1));
    assert!(change.text.contains("mode_act") && change.text.contains("tried for a week"), "{}", change.text);
    assert_eq!(store.verify(about).await.unwrap(), Ok(1));
}

pub async fn a_pause_begins_a_new_accepting_interval(bed: Bed) {
    let store = &*bed.store;
    let name = || "http".to_owned();
    let first = store.accepting(name(), Span::from_secs(60)).await.unwrap();
    assert_eq!((first.accepting_since, first.break_began), (first.accepting_until, None));
    assert!(first.accepting_since.is_some_and(|since| since <= first.now));
    let second = store.accepting(name(), Span::from_secs(60)).await.unwrap();
    assert_eq!((second.accepting_since, second.break_began), (first.accepting_since, None));
    assert!(second.accepting_until >= first.accepting_until);
    // Any pause at all is longer than none.
    tokio::time::sleep(Duration::from_millis(2)).await;
    let third = store.accepting(name(), Span(0)).await.unwrap();
    assert_eq!(third.accepting_since, third.accepting_until);
    assert_eq!(third.break_began, second.accepting_until);
    assert_eq!(store.tap(name()).await.unwrap().accepting_since, third.accepting_since);
}

pub async fn bindings_keep_their_last_moments(bed: Bed) {
    let look = |bound: bool, absent_at: Option<i64>, bound_at: Option<i64>, problem: Option<&str>| BindingRow {
        exchange: "stock".to_owned(),
        bound,
        absent_at: absent_at.map(Moment),
        bound_at: bound_at.map(Moment),
        problem: problem.map(str::to_owned),
        keys: bound.then(|| vec!["#".to_owned(), String::new()]),
    };
    let save = async |row| bed.store.save_binding("default".to_owned(), row).await.unwrap();
    save(look(false, Some(10), None, Some("404"))).await;
    save(look(true, None, Some(20), None)).await;
    save(look(true, None, Some(15), None)).await;
    let found = bed.store.bindings("default".to_owned()).await.unwrap();
    assert_eq!(found, [look(true, Some(10), Some(20), None)]);
    assert!(bed.store.bindings("other".to_owned()).await.unwrap().is_empty());
    bed.store.forget_binding("default".to_owned(), "stock".to_owned()).await.unwrap();
    assert!(bed.store.bindings("default".to_owned()).await.unwrap().is_empty());
}

pub async fn a_tap_that_is_switched_off_is_bound_to_nothing_from_then_on(bed: Bed) {
    let store = &*bed.store;
    let tap = || "escrow.tap.default".to_owned();
    assert_eq!(store.switch(tap()).await.unwrap(), None);
    let row = |exchange: &str, bound: bool| BindingRow {
        exchange: exchange.to_owned(),
        bound,
        absent_at: (!bound).then_some(Moment(10)),
        bound_at: bound.then_some(Moment(20)),
        problem: None,
        keys: bound.then(|| vec!["#".to_owned()]),
    };
    store.save_binding(tap(), row("bound", true)).await.unwrap();
    store.save_binding(tap(), row("missing", false)).await.unwrap();
    store.save_binding("another".to_owned(), row("bound", true)).await.unwrap();
    let to = |unbound: bool, reason: &str| SwitchTo {
        tap: tap(),
        unbound,
        actor: "ada".to_owned(),
        reason: reason.to_owned(),
    };
    store.set_switch(to(true, "publishers are slow")).await.unwrap();
    let switch = store.switch(tap()).await.unwrap().unwrap();
    assert_eq!((switch.unbound, switch.actor.as_str(), switch.reason.as_str()), (true, "ada", "publishers are slow"));
    let rows = store.bindings(tap()).await.unwrap();
    assert_eq!((rows[0].bound, rows[0].absent_at >= Some(switch.at)), (false, true), "{rows:?}");
    assert_eq!(rows[0].keys, None, "nothing is bound any more");
    assert_eq!(rows[0].problem.as_deref(), Some("unbound by ada: publishers are slow"));
    assert_eq!(rows[1], row("missing", false), "what was not there stays as it was");
    assert!(store.bindings("another".to_owned()).await.unwrap()[0].bound);
    store.set_switch(to(false, "mended")).await.unwrap();
    let switch = store.switch(tap()).await.unwrap().unwrap();
    assert_eq!((switch.unbound, switch.reason.as_str()), (false, "mended"));
    assert!(!store.bindings(tap()).await.unwrap()[0].bound, "a look binds it, and records the gap");
    assert!(bed.raw("UPDATE tap_log SET actor = 'eve'").await.is_err());
    assert!(bed.raw("DELETE FROM tap_log").await.is_err());
}

pub async fn migrations_go_down_and_up_again(bed: Bed) {
    let down = async || {
        if bed.is_postgres() {
            store::postgres::migrate_down(&bed.url, 0).await
        } else {
            store::sqlite::migrate_down(&bed.url, 0).await
        }
    };
    bed.store.close().await;
    down().await.unwrap();
    assert!(bed.raw("SELECT 1 FROM orders").await.is_err(), "the tables are gone");
    assert_eq!(store::migrate(&bed.url).await.unwrap(), 8);
    assert_eq!(store::migrate(&bed.url).await.unwrap(), 8, "twice is once");
    begin_one(&*bed.another().await, key("a"), |_, _| {}).await;
}

pub async fn a_newer_database_is_refused(bed: Bed) {
    let now = if bed.is_postgres() { "now()" } else { "CURRENT_TIMESTAMP" };
    let (checksum, yes) = if bed.is_postgres() { ("'\\x00'", "true") } else { ("x'00'", "1") };
    let sql = format!(
        "INSERT INTO _sqlx_migrations (version, description, installed_on, success, checksum, execution_time)
         VALUES (99, 'later', {now}, {yes}, {checksum}, 0)"
    );
    bed.raw(&sql).await.unwrap();
    let Err(StoreError::Unsupported(why)) = store::connect(&bed.url).await.map(drop) else { panic!("it was served") };
    assert!(why.contains("99") && why.contains("newer"), "{why}");
    for wrong in ["mysql://x", "nonsense", "postgres://[", ""] {
        assert!(matches!(store::connect(wrong).await.map(drop), Err(StoreError::Unsupported(_))), "{wrong}");
    }
}
