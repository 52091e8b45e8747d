//! What is shown of an order: what it waits for, which steps count, and the words for both.

use escrow::saga::machine::expected_steps;
use escrow::saga::status::{Status, StuckReason};
use serde_json::json;

use super::run::{Run, given};
use super::when::{command, confirm, due, event};

const SAGA: &str = "
steps:
  placed: { done: OrderPlaced, compensation: { publish: Unplace, done: Unplaced } }
  payment: { after: placed, done: [Paid, PaidByCard, Paid], failed: Declined, within: 30s }
  extra: { when: ExtraAsked, after: placed, done: Extra }
  gift: { after: placed, if: 'false', done: Wrapped }
  packing: { after: payment, done: Packed }
";

fn named(run: &Run, steps: impl Iterator<Item = usize>) -> String {
    steps.map(|step| run.saga.steps[step].name.clone()).collect::<Vec<_>>().join(", ")
}

fn waiting_on(run: &Run) -> String {
    named(run, run.order.waiting_on())
}

fn expected(run: &Run) -> String {
    named(run, expected_steps(&run.saga, &run.order))
}

#[test]
fn an_order_waits_for_what_is_open_or_overdue_and_for_what_is_being_undone() {
    let run = given(SAGA).when([event("OrderPlaced")]);
    assert_eq!(waiting_on(&run), "payment");
    let run = run.when([due("30s")]).then("order: stuck (timed_out payment)");
    assert_eq!(waiting_on(&run), "payment", "its answer still mends it");
    let run =
        run.when([command(escrow::saga::input::Action::Compensate)]).then("placed: compensating round 1 awaiting");
    assert_eq!(waiting_on(&run), "placed", "what timed out before is not waited for on the way back");
    let run = run.when([confirm("refused")]).then("order: stuck (compensation_refused placed)");
    assert_eq!(waiting_on(&run), "placed");
    let run = run.when([event("Unplaced")]).then("order: compensated");
    assert_eq!(waiting_on(&run), "", "an ended order waits for nothing");
}

#[test]
fn nothing_is_waited_for_in_an_order_that_ended_with_steps_open() {
    let run = given(SAGA).when([event("OrderPlaced"), command(escrow::saga::input::Action::Close)]);
    assert_eq!((waiting_on(&run).as_str(), run.show("payment")), ("", "waiting".to_owned()));
}

#[test]
fn skipped_steps_and_conditional_ones_nobody_asked_for_are_not_expected() {
    let run = given(SAGA).when([event("OrderPlaced")]).then("gift: skipped\n extra: pending");
    assert_eq!(expected(&run), "placed, payment, packing");
    let asked = run.when([event("ExtraAsked")]);
    assert_eq!(expected(&asked), "placed, payment, extra, packing");
}

#[test]
fn an_attribute_is_from_the_root_or_else_from_the_first_step_of_the_file_that_has_it() {
    let saga = "
attributes: { customer: /customer }
steps:
  packing: { after: placed, done: Packed }
  payment: { after: placed, done: Paid }
  placed: { done: OrderPlaced }
";
    let by = |name: &str| event(name).attribute("customer", json!(name));
    let run = given(saga).when([by("Paid")]).then("attributes: customer=\"Paid\"");
    let run = run.when([by("Packed"), by("Paid")]).then("attributes: customer=\"Packed\"");
    let run = run.when([event("Packed").attribute("customer", json!("another"))]);
    let run = run.then("attributes: customer=\"Packed\"");
    run.when([by("OrderPlaced"), by("Packed")]).then("attributes: customer=\"OrderPlaced\"");
}

/// Statistics of how long steps take are of no use where the tap was read late.
#[test]
fn a_duration_counts_only_if_the_tap_was_read_within_a_second_at_both_ends() {
    let live = |opens: &str, closes: &str| {
        let run = given(SAGA).when([event("OrderPlaced").read_after(opens), event("Paid").read_after(closes)]);
        run.then("payment: done").order.steps[1].live
    };
    assert!(live("5ms", "999ms") && live("999ms", "5ms"));
    assert!(!live("5ms", "1s") && !live("1s", "5ms"));
    let retried = SAGA.replace("within: 30s", "within: 30s, retry: { times: 1, every: 5s, to: original }");
    let run = given(&retried).when([event("OrderPlaced"), due("30s"), event("Paid")]).then("payment: done attempts 1");
    assert!(!run.order.steps[1].live, "it was asked again");
}

#[test]
fn the_events_a_step_awaits_are_named_once() {
    let run = given(SAGA);
    assert_eq!(run.saga.awaited(1), ["Paid", "PaidByCard"]);
    assert_eq!(run.saga.awaited_compensation(0), ["Unplaced"]);
    assert!(run.saga.awaited_compensation(1).is_empty());
}

#[test]
fn every_status_and_every_reason_is_found_by_its_word_and_no_other_word_is_one() {
    for status in Status::ALL {
        assert_eq!(Status::from_word(status.word()), Some(status));
    }
    for reason in StuckReason::ALL {
        assert_eq!(StuckReason::from_word(reason.word()), Some(reason));
    }
    assert_eq!((Status::from_word("lost"), StuckReason::from_word("lost")), (None, None));
}

#[test]
fn a_need_is_there_once_for_each_step_and_reason() {
    let saga = "
steps:
  placed: { done: OrderPlaced }
  a: { after: placed, done: A, failed: AFailed, on_failure: alert, within: 1m }
  b: { after: placed, done: B, within: 1m }
";
    given(saga)
        .when([event("OrderPlaced"), due("1m")])
        .then("order: stuck (timed_out a, timed_out b)")
        .when([due("2m")])
        .then("order: stuck (timed_out a, timed_out b)");
}

#[test]
fn what_is_as_it_began_is_not_written() {
    let run = given("\nsteps:\n  placed: { done: OrderPlaced }\n  a: { after: placed, done: A }\n")
        .when([event("OrderPlaced")]);
    let waiting = serde_json::to_value(&run.order.steps[1]).unwrap();
    let keys: Vec<&str> = waiting.as_object().unwrap().keys().map(String::as_str).collect();
    assert!(!keys.contains(&"undo") && !keys.contains(&"early") && !keys.contains(&"attempts"), "{keys:?}");
    let done = serde_json::to_value(&run.order.steps[0].undo).unwrap();
    assert_eq!(done, serde_json::json!({"dones": 1}), "a zero is not written");
}
