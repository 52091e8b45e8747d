//! Rule 2 across batches: messages with and without an id, redelivered, and commits whose answer was lost.

use escrow::bus::Delivery;
use escrow::saga::batch::NewDoubt;
use escrow::saga::decide::{FromTap, Plan, Work};
use escrow::saga::order::DoubtKind;
use escrow::saga::time::{Moment, Span};
use serde_json::json;

use super::stage::{Stage, TAP, again, event, key, message};

const SAGA: &str = "
saga: order
version: 1
watch: [{ exchange: shop }]
read: { event: /type, order_id: /order }
steps:
  placed: { done: Placed }
  paid: { after: placed, done: Paid, within: 1h }
";

fn bare(name: &str) -> Delivery {
    message("shop", None, &event(name, "1"))
}

fn entries(stage: &Stage) -> Vec<&str> {
    stage.journal.iter().map(|(_, kind, _)| kind.word()).collect()
}

#[test]
fn a_message_with_an_id_is_applied_once_and_counted_after() {
    let mut stage = Stage::new([SAGA]);
    let placed = message("shop", Some("m"), &event("Placed", "1"));
    stage.batch(&[placed.clone(), placed.clone()]);
    stage.batch(&[placed]);
    assert_eq!((entries(&stage), stage.order("order", "1").duplicates), (vec!["event"], 2));
    assert!(stage.last_batch.is_empty(), "known by its identity alone");
}

#[test]
fn a_message_without_an_id_is_a_duplicate_only_if_redelivered_and_in_the_last_batch() {
    let mut stage = Stage::new([SAGA]);
    stage.batch(&[bare("Placed")]);
    stage.batch(&[bare("Placed")]);
    assert_eq!(entries(&stage), ["event", "repeated"], "published twice");
    stage.batch(&[again(&bare("Placed"))]);
    assert_eq!(entries(&stage).len(), 2, "delivered twice");
    stage.batch(&[bare("Paid")]);
    stage.batch(&[again(&bare("Placed"))]);
    assert_eq!(entries(&stage).len(), 4, "not of the last batch: it was in hand, and not applied");
}

#[test]
fn each_entry_of_the_last_batch_is_used_once() {
    let mut stage = Stage::new([SAGA]);
    stage.batch(&[bare("Placed"), bare("Placed")]);
    let changes = stage.batch(&[again(&bare("Placed")), again(&bare("Placed")), again(&bare("Placed"))]);
    assert_eq!((changes.tally.duplicate, changes.tally.applied), (2, 1));
}

#[test]
fn what_comes_again_may_come_in_smaller_batches() {
    let mut stage = Stage::new([SAGA]);
    stage.batch(&[bare("Placed"), bare("Paid"), bare("Paid")]);
    let before = entries(&stage).len();
    for delivery in [bare("Placed"), bare("Paid"), bare("Paid")] {
        stage.batch(&[again(&delivery)]);
    }
    assert_eq!(entries(&stage).len(), before);
    stage.batch(&[again(&bare("Paid")), bare("Paid")]);
    assert_eq!(entries(&stage).len(), before + 1, "given up a second time, and then something new");
}

#[test]
fn a_batch_that_holds_nothing_new_forgets_nothing() {
    let mut stage = Stage::new([SAGA]);
    stage.batch(&[bare("Placed")]);
    // What a tap tells on connecting comes in a batch of its own, before what was not acknowledged.
    let told = stage.of_tap(Vec::new(), false);
    stage.commit(&told);
    stage.batch(&[again(&bare("Placed"))]);
    assert_eq!(entries(&stage), ["event"]);
    let canary = stage.of_tap(Vec::new(), true);
    stage.commit(&canary);
    assert!(stage.last_batch.is_empty(), "after something new, nothing can come again");
}

#[test]
fn a_commit_whose_answer_was_lost_is_recognised() {
    let mut stage = Stage::new([SAGA]);
    let work = vec![Work::Delivered(stage.read(&bare("Placed"))), Work::Delivered(stage.read(&bare("Paid")))];
    let watermark = Some(Moment(5));
    let tap = FromTap { name: TAP.to_owned(), watermark, is_fresh: true, ..FromTap::default() };
    let plan = Plan { tap: Some(tap), token: Some([9; 32]), ..stage.plan(work) };
    stage.commit(&plan);
    let before = stage.clone();
    stage.now = stage.now + Span::from_secs(3);
    let changes = stage.commit(&plan);
    assert!(changes.orders.is_empty() && changes.quarantined.is_empty());
    assert_eq!((&stage.last_batch, stage.watermark), (&before.last_batch, watermark));
    stage.batch(&[again(&bare("Placed")), again(&bare("Paid"))]);
    assert_eq!(entries(&stage), ["event", "event"]);
}

#[test]
fn what_was_quarantined_is_quarantined_once() {
    let mut stage = Stage::new([SAGA]);
    let broken = message("shop", Some("m"), &json!({"type": "Placed"}));
    stage.batch(std::slice::from_ref(&broken));
    assert_eq!((stage.reasons(), stage.doubts.len()), (vec!["no_order_id"], 1));
    let changes = stage.batch(&[again(&broken)]);
    assert_eq!((changes.tally.duplicate, stage.quarantine.len(), stage.doubts.len()), (1, 1, 1));
    let work = vec![Work::Delivered(stage.read(&broken))];
    let plan = Plan { token: Some([7; 32]), ..stage.of_tap(work, true) };
    stage.commit(&plan);
    stage.commit(&plan);
    assert_eq!(stage.quarantine.len(), 2, "sent again by its service, and committed once");
}

#[test]
fn the_same_id_with_another_body_is_another_event() {
    let mut stage = Stage::new([SAGA]);
    stage.batch(&[message("shop", Some("m"), &event("Placed", "1"))]);
    stage.batch(&[message("shop", Some("m"), &json!({"type": "Placed", "order": "1", "more": 1}))]);
    assert_eq!(entries(&stage), ["event", "repeated"]);
    assert_eq!(stage.orders[&key("order", "1")].duplicates, 0);
}

#[test]
fn a_batch_is_remembered_by_its_token_only_where_something_has_no_other_name() {
    let doubt = || {
        Work::Doubt(NewDoubt {
            kind: DoubtKind::Gap,
            saga: None,
            from: Moment(1),
            to: Moment(2),
            event: None,
            order_id: None,
            detail: "lost".to_owned(),
            quarantined: None,
        })
    };
    let mut stage = Stage::new([SAGA]);
    let gap = Plan { token: Some([9; 32]), ..stage.of_tap(vec![doubt()], true) };
    stage.commit(&gap);
    stage.commit(&gap);
    assert_eq!((stage.doubts.len(), &stage.last_batch), (1, &vec![[9; 32]]), "a gap has no name but the batch's");
    let work = vec![Work::Delivered(stage.read(&message("shop", Some("m"), &event("Placed", "1"))))];
    let named = Plan { token: Some([8; 32]), ..stage.of_tap(work, true) };
    stage.commit(&named);
    assert!(!stage.last_batch.contains(&[8; 32]), "a message with an id is known by that");
}
