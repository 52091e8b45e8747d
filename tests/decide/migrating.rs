//! Moving orders to another version, in batches with other things: what is refused, and that a dry run keeps nothing.

use std::sync::Arc;

use escrow::bus::Delivery;
use escrow::saga::batch::Changes;
use escrow::saga::decide::Work;
use escrow::saga::journal::Kind;
use escrow::saga::migration::{Migration, MigrationAnswer, MigrationOutcome};

use super::stage::{Stage, event, key, message};

const V1: &str = "
saga: order
version: 1
watch: [{ exchange: shop }]
read: { event: /type, order_id: /order }
steps:
  placed: { done: Placed }
  paid: { after: placed, done: Paid, within: 1h }
";

const V2: &str = "
saga: order
version: 2
watch: [{ exchange: shop }]
read: { event: /type, order_id: /order }
steps:
  placed: { done: Placed }
  paid: { after: placed, done: Paid, within: 1h }
  sent: { after: paid, done: Sent, within: 1h }
  checked: { after: placed, done: Checked, within: 1h }
";

fn shop(name: &str, order: &str) -> Delivery {
    message("shop", Some(&format!("{name}-{order}")), &event(name, order))
}

fn stage() -> Stage {
    let mut stage = Stage::new([V1]);
    stage.batch(&[shop("Placed", "1")]);
    stage.catalog = Stage::new([V1, V2]).catalog;
    stage
}

fn to(version: u32) -> Migration {
    let (actor, reason) = ("ann".to_owned(), "why".to_owned());
    Migration { from: 1, to: version, rearm: false, dry_run: false, actor, reason }
}

fn migrate(order: &str, migration: Migration) -> Work {
    Work::Migrate(key("order", order), Arc::new(migration))
}

fn moved_by(changes: &Changes) -> Vec<Option<u64>> {
    let moved = |answer: &MigrationAnswer| match &answer.outcome {
        MigrationOutcome::Moved { sequence, .. } => Some(*sequence),
        MigrationOutcome::Already | MigrationOutcome::Refused(_) => None,
    };
    changes.migrations.iter().map(moved).collect()
}

fn refusal(changes: &Changes) -> &str {
    match &changes.migrations[0].outcome {
        MigrationOutcome::Refused(why) => why,
        outcome => panic!("{outcome:?}"),
    }
}

#[test]
fn an_order_moves_with_an_entry_and_the_doubts_that_follow() {
    let mut stage = stage();
    let changes = stage.work(vec![migrate("1", to(2))]);
    assert_eq!((moved_by(&changes), changes.orders.len()), (vec![Some(2)], 1));
    assert_eq!(changes.migrations[0].key, key("order", "1"));
    assert_eq!(stage.order("order", "1").version, 2);
    assert_eq!(stage.steps("order", "1"), "placed done, paid waiting, sent pending, checked waiting");
    assert_eq!(stage.journal.last().map(|(_, kind, _)| *kind), Some(Kind::Command));
    let doubts: Vec<_> = stage.doubts.iter().map(|it| (it.event.as_deref(), it.order_id.as_deref())).collect();
    assert_eq!(doubts, [(Some("Checked"), Some("1"))]);
}

#[test]
fn a_dry_run_answers_as_the_move_would_and_keeps_nothing() {
    let mut stage = stage();
    let dry = stage.work(vec![migrate("1", Migration { dry_run: true, ..to(2) })]);
    assert!(dry.orders.is_empty() && dry.outbox.is_empty() && dry.doubts.is_empty(), "{dry:?}");
    assert_eq!(stage.order("order", "1").version, 1);
    let wet = stage.work(vec![migrate("1", to(2))]);
    assert_eq!(dry.migrations, wet.migrations);
}

#[test]
fn what_the_same_batch_did_before_goes_along() {
    let mut stage = stage();
    let paid = Work::Delivered(stage.read(&shop("Paid", "1")));
    // Under version 1 that was the end of it, so the move comes first.
    let changes = stage.work(vec![migrate("1", to(2)), paid]);
    assert_eq!(moved_by(&changes), [Some(2)]);
    assert_eq!(stage.steps("order", "1"), "placed done, paid done, sent waiting, checked waiting");

    let mut stage = self::stage();
    let twice = Work::Delivered(stage.read(&message("shop", Some("again"), &event("Placed", "1"))));
    let changes = stage.work(vec![twice, migrate("1", to(2))]);
    assert_eq!((moved_by(&changes), changes.orders.len()), (vec![Some(3)], 1), "after the entry made just now");
    let kinds: Vec<_> = changes.orders[0].entries.iter().map(|sealed| sealed.entry.kind).collect();
    assert_eq!(kinds, [Kind::Repeated, Kind::Command], "both are written");
}

#[test]
fn an_order_that_began_in_the_same_batch_is_still_a_new_one() {
    let mut stage = stage();
    stage.catalog = Stage::new([V1]).catalog;
    let placed = Work::Delivered(stage.read(&shop("Placed", "2")));
    stage.catalog = Stage::new([V1, V2]).catalog;
    let mut held = (*stage.catalog).clone();
    held.hold_at("order", 1);
    stage.catalog = held.into();
    let changes = stage.work(vec![placed, migrate("2", to(2))]);
    assert_eq!((moved_by(&changes), changes.orders[0].is_new), (vec![Some(2)], true));
}

#[test]
fn what_is_there_already_is_said_and_what_cannot_move_says_why() {
    let mut stage = stage();
    let refused = |stage: &mut Stage, order: &str, migration: Migration| {
        let changes = stage.work(vec![migrate(order, migration)]);
        assert!(changes.orders.is_empty(), "{changes:?}");
        refusal(&changes).to_owned()
    };
    assert_eq!(refused(&mut stage, "2", to(2)), "there is no such order");
    assert_eq!(refused(&mut stage, "1", to(3)), "version 3 of saga order is not known here");
    assert_eq!(refused(&mut stage, "1", Migration { from: 4, ..to(2) }), "it is on version 1, not on 4");
    stage.work(vec![migrate("1", to(2))]);
    let changes = stage.work(vec![migrate("1", to(2))]);
    assert_eq!((&changes.migrations[0].outcome, changes.orders.len()), (&MigrationOutcome::Already, 0));
    stage.corrupt.insert(key("order", "1"));
    assert_eq!(refused(&mut stage, "1", to(2)), "its stored row cannot be read: cut off");
}
