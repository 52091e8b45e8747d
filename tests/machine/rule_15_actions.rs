//! Rule 15: what a person asks, and what does not fit.

use escrow::saga::input::Action;
use escrow::saga::journal::Kind;
use escrow::saga::time::Span;

use super::run::{Run, START, given};
use super::when::{When, at, command, confirm, due, event, gap};

const SAGA: &str = "
steps:
  placed: { done: OrderPlaced, compensation: { publish: Unplace, done: Unplaced, within: 1m } }
  packing: { after: placed, done: Packed, failed: PackingFailed, on_failure: alert, within: 1m, retry: { times: 1, every: 20s, to: original } }
  note: { after: packing, done: Noted, within: 30s }
  slow: { after: packing, done: Slow }
cancelled_by: OrderCancelled
within: 2h
";

const HALF_HOUR: Action = Action::Extend(Span::from_secs(1800));

fn timed_out() -> Run {
    given(SAGA)
        .when([event("OrderPlaced"), due("1m"), confirm("routed"), due("1m20s")])
        .then("order: stuck (timed_out packing)\n packing: timed_out attempts 1")
}

fn undoing_overdue() -> Run {
    given(SAGA)
        .when([
            event("OrderPlaced"),
            event("OrderCancelled"),
            due("1s"),
            confirm("routed"),
            event("Packed"),
            event("Slow"),
        ])
        .when([due("2m")])
        .then("order: stuck (compensation_overdue placed)")
}

#[test]
fn retry_sends_again_and_waits_anew_also_when_its_retries_are_used_up() {
    timed_out()
        .when([command(Action::Retry).at("2m")])
        .then("packing: waiting attempts 2 awaiting until 3m\n sent: OrderPlaced again, retry 2\n order: running\n told: packing.retried")
        .when([confirm("routed").at("2m5s")])
        .then("packing: waiting attempts 2 until 3m")
        .when([due("3m")])
        .then("order: stuck (timed_out packing)\n sent: -");
    given(SAGA)
        .when([event("OrderPlaced"), event("PackingFailed"), command(Action::Retry).on("packing")])
        .then("packing: waiting attempts 1 awaiting until 1m\n order: running");
}

#[test]
fn retry_of_a_step_without_one_says_what_to_do_instead() {
    given(SAGA)
        .when([event("OrderPlaced"), event("Packed"), due("30s"), command(Action::Retry)])
        .then("answer: `retry` does not fit: step note is timed_out, and its definition names no retry; `extend` waits longer without sending");
}

#[test]
fn skip_goes_on_without_the_step() {
    timed_out()
        .when([command(Action::Skip).at("2m")])
        .then("packing: skipped attempts 1\n note: waiting until 2m30s\n order: running")
        .when([event("Packed")])
        .then("packing: done late attempts 1\n note: waiting until 2m30s");
    given(SAGA)
        .when([event("OrderPlaced"), event("Packed"), event("Slow"), command(Action::Skip).on("note")])
        .then("order: completed");
}

#[test]
fn skipping_what_turned_the_order_back_withdraws_it() {
    let saga = SAGA.replace("on_failure: alert, ", "");
    given(&saga)
        .when([event("OrderPlaced"), event("PackingFailed"), command(Action::Skip).on("packing"), due("1s")])
        .then("order: running\n packing: skipped failure kept\n sent: -");
}

#[test]
fn extend_gives_a_step_a_compensation_or_the_order_more_time() {
    timed_out().when([command(HALF_HOUR).at("2m")]).then("packing: waiting attempts 1 until 32m\n order: running");
    given(SAGA)
        .when([event("OrderPlaced"), command(HALF_HOUR).on("packing").at("10s")])
        .then("packing: waiting until 31m");
    undoing_overdue().when([command(HALF_HOUR)]).then("placed: compensating round 1 until 32m\n order: compensating");
    let overdue = given(SAGA).when([event("OrderPlaced"), event("Packed"), event("Noted"), due("2h")]);
    overdue.then("order: stuck (order_overdue)").when([command(HALF_HOUR)]).then("order: running\n due: 2h30m");
    given(SAGA)
        .when([event("OrderPlaced"), event("Packed"), command(HALF_HOUR).on("slow")])
        .then("answer: `extend` does not fit: step slow is waiting, and has no deadline");
    given(SAGA)
        .when([event("OrderPlaced"), due("1m"), command(HALF_HOUR).on("packing")])
        .then("packing: waiting attempts 1 awaiting until 31m")
        .when([confirm("routed").at("2m")])
        .then("packing: waiting attempts 1 until 31m");
}

#[test]
fn extend_without_a_step_is_about_the_whole_order_unless_a_step_needs_a_person() {
    let run = given(SAGA).when([event("OrderPlaced"), command(HALF_HOUR)]).then("packing: waiting until 1m");
    assert_eq!(run.order.life.deadline.unwrap().since(START), Span::from_secs(9_000));
    let stuck = timed_out().when([command(HALF_HOUR)]).then("order: running");
    assert_eq!(stuck.order.life.deadline.unwrap().since(START), Span::from_secs(7_200));
    // Both: the order's own time is what is up.
    timed_out()
        .when([due("2h")])
        .then("order: stuck (timed_out packing, order_overdue)")
        .when([command(HALF_HOUR)])
        .then("order: stuck (timed_out packing)\n due: 2h30m");
}

#[test]
fn on_the_way_back_a_step_is_neither_skipped_nor_given_time_to_be_done() {
    let saga = "
steps:
  placed: { done: OrderPlaced, compensation: { publish: Unplace, done: Unplaced } }
  payment: { after: placed, done: Paid, compensation: { publish: Refund, done: Refunded } }
  note: { after: placed, done: Noted, within: 10s, retry: { times: 1, every: 5s, to: original } }
";
    let turned = given(saga)
        .when([event("OrderPlaced"), event("Paid"), due("10s"), confirm("routed"), due("15s")])
        .when([command(Action::Compensate)])
        .then("steps: placed done, payment compensating, note timed_out");
    for (action, step) in [
        (Action::Skip, "placed"),
        (Action::Skip, "note"),
        (HALF_HOUR, "placed"),
        (HALF_HOUR, "note"),
        (Action::Retry, "placed"),
        (Action::Retry, "note"),
    ] {
        let run = turned.clone().when([command(action).on(step)]);
        assert_eq!(run.order, turned.order, "{action:?} of {step}");
        assert!(run.answer.is_err(), "{action:?} of {step}");
    }
}

#[test]
fn compensate_turns_back_for_the_reason_given() {
    given(SAGA)
        .when([event("OrderPlaced"), command(Action::Compensate)])
        .then("order: compensating\n sent: Unplace\n trail: event OrderPlaced, command compensate (ticket 7), compensation Unplace");
    given(SAGA)
        .when([gap(), event("OrderPlaced"), command(Action::Compensate)])
        .then("order: compensating\n sent: Unplace");
    let run = given(SAGA).when([event("OrderPlaced"), command(Action::Compensate)]);
    assert_eq!(run.order.life.turn.as_ref().unwrap().reason, "ticket 7");
}

#[test]
fn release_of_one_step_leaves_what_is_withheld_about_another() {
    let saga = "
steps:
  placed: { done: OrderPlaced, compensation: { publish: Unplace } }
  a: { after: placed, done: A, within: 10s, retry: { times: 1, every: 5s, to: original } }
  b: { after: placed, done: B, within: 20s, on_timeout: compensate }
cancelled_by: OrderCancelled
";
    let cancelled = given(saga).when([event("OrderPlaced"), gap(), due("10s"), event("OrderCancelled"), due("11s")]);
    cancelled
        .then("order: stuck (unproven a, unproven)")
        .when([command(Action::Drop).on("a")])
        .then("order: stuck (unproven, timed_out a)");
    let held =
        || given(saga).when([event("OrderPlaced"), gap(), due("20s")]).then("order: stuck (unproven a, unproven b)");
    held()
        .when([command(Action::Release).on("a")])
        .then("order: stuck (unproven b)\n a: waiting attempts 1 awaiting\n sent: OrderPlaced again, retry 1")
        .when([command(Action::Release).on("b")])
        .then("order: compensating\n sent: Unplace");
    held()
        .when([command(Action::Drop).on("a")])
        .then("order: stuck (unproven b, timed_out a)")
        .when([command(Action::Release)])
        .then("order: compensating\n sent: Unplace");
}

#[test]
fn close_disarms_everything_and_takes_back_what_is_unsent() {
    let run = given(SAGA).when([event("OrderPlaced"), due("1m")]).then("packing: waiting attempts 1 awaiting");
    assert_eq!(run.unsettled.len(), 1);
    let run = run.when([command(Action::Close)]).then(
        "order: closed\n due: -\n packing: waiting attempts 1\n sent: -\n told: -\n trail: command close (ticket 7)",
    );
    assert!(run.unsettled.is_empty());
}

#[test]
fn a_note_fits_everywhere_and_changes_nothing() {
    for run in [timed_out(), undoing_overdue(), timed_out().when([command(Action::Close)])] {
        let (status, steps, due) = (run.show("order"), run.show("steps"), run.show("due"));
        let run = run.then("").when([command(Action::Note)]);
        assert_eq!((run.show("order"), run.show("steps"), run.show("due")), (status, steps, due));
        run.then("trail: command note (ticket 7)\n answer: applied");
    }
}

#[test]
fn every_command_is_journaled_with_who_and_why() {
    let run = timed_out().when([command(Action::Skip)]);
    let entry = run.journal.iter().rfind(|entry| entry.kind == Kind::Command).unwrap();
    assert_eq!(entry.actor.as_deref(), Some("ann"));
    assert_eq!(entry.body.reason.as_deref(), Some("ticket 7"));
    assert_eq!(entry.body.name.as_deref(), Some("skip"));
    assert_eq!(entry.body.step, None, "none was named");
    let run = timed_out().when([command(Action::Skip).on("packing")]);
    assert_eq!(run.journal.last().unwrap().body.step, Some(1));
}

#[test]
fn what_does_not_fit_names_the_state_and_changes_nothing() {
    let misfits: [(Run, When, &str); 13] = [
        (given(SAGA).when([event("OrderPlaced")]), command(Action::Retry), "has no step that needs a person (running)"),
        (given(SAGA).when([event("OrderPlaced")]), command(Action::Retry).on("packing"), "step packing is waiting"),
        (given(SAGA).when([event("OrderPlaced")]), command(Action::Retry).on("placed"), "step placed is done"),
        (given(SAGA).when([event("OrderPlaced")]), command(Action::Retry).on("note"), "step note is pending"),
        (given(SAGA).when([event("OrderPlaced")]), command(Action::Skip).on("placed"), "step placed is done"),
        (given(SAGA).when([event("OrderPlaced")]), command(HALF_HOUR).on("note"), "step note is pending"),
        (timed_out(), command(Action::Release), "(stuck)"),
        (timed_out(), command(Action::Drop), "(stuck)"),
        (undoing_overdue(), command(Action::Compensate), "is on its way back already (stuck)"),
        (undoing_overdue(), command(Action::Drop), "before turning back (stuck)"),
        (timed_out().when([command(Action::Close)]), command(Action::Close), "is ended (closed)"),
        (timed_out().when([command(Action::Close)]), command(Action::Retry), "is ended (closed)"),
        (
            given(SAGA).when([event("Packed"), event("Noted"), event("Slow")]),
            command(Action::Compensate),
            "is ended (completed)",
        ),
    ];
    for (run, wrong, why) in misfits {
        let before = run.order.clone();
        let run = run.when([wrong]);
        assert_eq!(run.order, before);
        assert!(run.show("answer").ends_with(why), "{} / {why}", run.show("answer"));
    }
}

#[test]
fn with_several_steps_in_need_one_must_be_named() {
    let saga = "
steps:
  placed: { done: OrderPlaced }
  a: { after: placed, done: A, within: 10s }
  b: { after: placed, done: B, within: 10s }
";
    given(saga)
        .when([event("OrderPlaced"), due("10s"), command(Action::Skip)])
        .then("answer: `skip` does not fit: order order/101 has several steps that need a person; name one (stuck)")
        .when([command(Action::Skip).on("a"), command(Action::Skip)])
        .then("order: completed");
}

#[test]
fn actions_act_on_unproven_orders_too() {
    given(SAGA)
        .when([event("Packed"), due("30s")])
        .then("order: stuck (timed_out note)\n unproven: beginning")
        .when([command(Action::Skip), command(Action::Skip).on("slow")])
        .then("order: completed");
    given(SAGA)
        .when([event("OrderPlaced"), gap(), due("1m"), at("2m").command(Action::Retry)])
        .then("sent: OrderPlaced again, retry 1\n order: running");
}
