//! The audit trail: its hashes cover all there is, and a fold refuses what does not follow.

use escrow::saga::definition::STEPS_MAX;
use escrow::saga::journal::{Began, Broken, Entry, EntryBody, Kind, attribute_hash, chain, fold, hex, same, unhex};
use escrow::saga::order::{Digest, Order, OrderKey};
use escrow::saga::time::Moment;
use serde_json::json;

use super::run::{START, given};
use super::when::{Seen, What, When, event};

/// What is changed, and how.
type Change<T> = (&'static str, fn(&mut T));

/// Everything that one hash covers.
#[derive(Clone)]
struct Link {
    previous: Digest,
    key: OrderKey,
    sequence: u64,
    at: Moment,
    kind: Kind,
    actor: Option<&'static str>,
    body: &'static str,
}

impl Link {
    fn hash(&self) -> String {
        hex(&chain(&self.previous, &self.key, self.sequence, self.at, self.kind, self.actor, self.body))
    }
}

fn link() -> Link {
    let key = OrderKey { saga: "order".to_owned(), order_id: "101".to_owned() };
    Link {
        previous: [0; 32],
        key,
        sequence: 1,
        at: START,
        kind: Kind::Event,
        actor: None,
        body: r#"{"name":"Placed"}"#,
    }
}

#[test]
fn any_part_of_an_entry_that_is_changed_changes_its_hash() {
    let changes: [Change<Link>; 9] = [
        ("the entry before", |it| it.previous[31] = 1),
        ("the saga", |it| it.key.saga.push('s')),
        ("the order", |it| it.key.order_id = "102".to_owned()),
        ("where saga and order part", |it| (it.key.saga, it.key.order_id) = ("order1".to_owned(), "01".to_owned())),
        ("the sequence", |it| it.sequence = 2),
        ("the time", |it| it.at = Moment(it.at.0 + 1)),
        ("the kind", |it| it.kind = Kind::Late),
        ("the actor", |it| it.actor = Some("ann")),
        ("the body", |it| it.body = r#"{"name":"Paid"}"#),
    ];
    let was = link().hash();
    for (what, change) in changes {
        let mut changed = link();
        change(&mut changed);
        assert_ne!(changed.hash(), was, "{what}");
    }
}

/// Hashes are stored for years: a program that computes them otherwise would call every old trail broken.
#[test]
fn hashes_are_those_that_are_stored_already() {
    assert_eq!(link().hash(), "4c86555448c169acaf125e31725b7135f3e47da34075ad4f60f95ec0bbba20c4");
    assert_eq!(
        attribute_hash(&[7; 16], "customer", &json!("John Doe")),
        "0666d9d5bf35d0cc7e565ccb69c07cee9f7fed44bfbaf5ad745b19f83fce58d9"
    );
}

#[test]
fn an_attributes_hash_covers_its_salt_its_name_and_its_value() {
    let was = attribute_hash(&[7; 16], "customer", &json!("John"));
    assert_ne!(attribute_hash(&[8; 16], "customer", &json!("John")), was);
    assert_ne!(attribute_hash(&[7; 16], "customers", &json!("John")), was);
    assert_ne!(attribute_hash(&[7; 16], "customer", &json!("Jane")), was);
}

#[test]
fn every_kind_is_found_by_its_word_and_no_other_word_is_one() {
    for kind in Kind::ALL {
        assert_eq!(Kind::from_word(kind.word()), Some(kind));
    }
    assert_eq!(Kind::from_word("nothing"), None);
}

#[test]
fn hexadecimal_comes_back_and_nothing_else_is_taken_for_it() {
    assert_eq!(hex(&[0, 10, 255]), "000aff");
    assert_eq!(unhex::<3>("000aFF"), Some([0, 10, 255]));
    for text in ["000af", "000aff0", "000afg", "00é0f", ""] {
        assert_eq!(unhex::<3>(text), None, "{text}");
    }
}

#[test]
fn a_fold_refuses_an_entry_that_does_not_follow() {
    let run = given("steps: { placed: { done: Placed }, paid: { after: placed, done: Paid, within: 30s } }")
        .when([event("Placed"), event("Paid")]);
    let [first, second] = run.journal.as_slice() else { panic!("{:?}", run.journal) };
    let key = &run.order.key;
    let again = |order: Option<Order>, entry: &Entry| fold(order, key, entry);

    let begun = again(None, first).expect("the first entry begins the order");
    let ended = again(Some(begun.clone()), second).expect("the second follows");
    let ended = Order { head: run.order.head, attributes: run.order.attributes.clone(), ..ended };
    assert_eq!(same(&ended, &run.order), Ok(()));

    assert_eq!(again(None, second), Err(Broken::Sequence { sequence: 2 }), "nothing was there before");
    assert_eq!(again(Some(begun.clone()), first), Err(Broken::Sequence { sequence: 1 }), "it began already");
    let skipped = Entry { sequence: 3, ..second.clone() };
    assert_eq!(again(Some(begun.clone()), &skipped), Err(Broken::Sequence { sequence: 3 }), "one is missing");
    let renumbered = Entry { sequence: 2, ..first.clone() };
    assert_eq!(again(None, &renumbered), Err(Broken::Sequence { sequence: 2 }), "an order begins with its first entry");
    let headless = Entry { body: EntryBody { began: None, ..first.body.clone() }, ..first.clone() };
    assert_eq!(again(None, &headless), Err(Broken::Sequence { sequence: 1 }), "it does not say how it began");
    let of_steps = |steps| {
        let began = Some(Began { version: 1, steps });
        fold(None, key, &Entry { body: EntryBody { began, ..EntryBody::default() }, ..first.clone() })
    };
    assert_eq!(of_steps(STEPS_MAX).map(|order| order.steps.len()), Ok(STEPS_MAX), "as many as a definition may have");
    assert!(matches!(of_steps(STEPS_MAX + 1), Err(Broken::Fold { .. })), "more than any definition has");
    let mut stray = second.clone();
    stray.body.steps[0].step = 9;
    assert!(matches!(again(Some(begun), &stray), Err(Broken::Fold { .. })), "there is no such step");
}

#[test]
fn a_stored_order_that_differs_anywhere_is_not_the_folded_one() {
    let placed =
        Seen { name: "Placed".to_owned(), attributes: vec![("customer".to_owned(), json!("John"))], ..Seen::default() };
    let run = given("attributes: { customer: /customer }\nsteps: { placed: { done: Placed } }")
        .when([When { at: None, what: What::Event(placed) }]);
    let changes: [Change<Order>; 10] = [
        ("the sequence", |it| it.sequence += 1),
        ("the head", |it| it.head[0] ^= 1),
        ("the version", |it| it.version += 1),
        ("when it began", |it| it.created_at = Moment(0)),
        ("when it changed", |it| it.updated_at = Moment(0)),
        ("the order as a whole", |it| it.life.closed_because = Some("so".to_owned())),
        ("a step", |it| it.steps[0].attempts += 1),
        ("the messages seen", |it| it.seen.clear()),
        ("the attributes", |it| it.attributes.clear()),
        ("where an attribute is from", |it| it.attributes.values_mut().for_each(|it| it.rank += 1)),
    ];
    assert_eq!(run.order.attributes.len(), 1, "{:?}", run.order);
    for (what, change) in changes {
        let mut changed = run.order.clone();
        change(&mut changed);
        assert!(same(&run.order, &changed).is_err(), "{what}");
    }
    // Values can be erased, and duplicates are counted, not journaled.
    let mut erased = run.order.clone();
    erased.duplicates += 1;
    erased.attributes.values_mut().for_each(|it| it.value = json!(null));
    assert_eq!(same(&run.order, &erased), Ok(()));
}
