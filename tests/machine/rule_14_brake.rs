//! Rule 14: past the brake, an order that would turn back by timeout is held, with nothing decided and nothing sent.

use escrow::saga::input::{Action, Input};
use escrow::saga::machine::apply;
use escrow::saga::order::Circumstances;

use super::run::{Run, given};
use super::when::{at, brake, command, due, event, gap};

const SAGA: &str = "
steps:
  placed: { done: OrderPlaced, compensation: { publish: Unplace, done: Unplaced } }
  payment: { after: placed, done: Paid, failed: Declined, within: 30s, on_timeout: compensate }
  extra: { after: placed, done: Extra, failed: ExtraFailed, within: 1h }
";

fn held() -> Run {
    given(SAGA).when([brake(true), event("OrderPlaced"), due("30s")]).then(
        "order: stuck (held payment)
             trail: event OrderPlaced, deadline payment (held by the brake)
             told: payment.timed_out, stuck
             sent: -",
    )
}

#[test]
fn a_held_order_still_recovers() {
    held().when([at("1m").event("Paid")]).then("order: running\n payment: done late\n told: payment.recovered");
}

#[test]
fn a_person_releases_it_past_the_brake_or_drops_it() {
    held().when([command(Action::Release)]).then("order: compensating\n sent: Unplace\n told: compensating");
    held().when([command(Action::Drop)]).then("order: stuck (timed_out payment)\n sent: -\n told: -");
    let dropped = held().when([command(Action::Drop)]);
    assert_eq!(dropped.order.life.turn, None, "nothing speaks for turning back any more");
    held().when([command(Action::Drop), at("1m").event("Paid")]).then("order: running\n payment: done late");
}

#[test]
fn the_brake_going_releases_nothing_by_itself() {
    held().when([brake(false), due("10m")]).then("order: stuck (held payment)\n trail: -");
}

#[test]
fn a_failure_is_the_services_own_word_and_passes() {
    given(SAGA)
        .when([brake(true), event("OrderPlaced"), event("ExtraFailed"), due("1s")])
        .then("order: compensating\n sent: Unplace");
    held()
        .when([at("1m").event("ExtraFailed")])
        .then("order: stuck (held payment)\n due: 1m")
        .when([due("1m1s")])
        .then("order: compensating\n sent: Unplace");
    held()
        .when([at("1m").event("ExtraFailed"), at("1m").event("Extra")])
        .then("order: stuck (held payment)\n extra: done")
        .when([command(Action::Release)])
        .then("order: compensating");
}

#[test]
fn what_a_person_released_is_not_held_back_by_a_doubt_that_comes_later() {
    held().when([command(Action::Release), gap(), event("ExtraFailed"), event("Unplaced")]).then("order: compensated");
}

#[test]
fn only_a_turning_back_by_timeout_that_nobody_released_counts() {
    let counted = |run: &Run, input: &Input| {
        let with = Circumstances { now: run.now, mode: run.mode, braked: run.braked, doubts: &[] };
        let outcome = apply(&run.saga, run.order.clone(), &mut run.stored.clone(), input, &with).unwrap();
        assert_eq!(outcome.held, run.braked && matches!(input, Input::Due(_)), "what latches it");
        outcome.turned_by_timeout
    };
    let mut run = given(SAGA).when([event("OrderPlaced"), at("30s").event("OrderPlaced")]);
    let timeout = Input::Due(run.now);
    assert!(counted(&run, &timeout));
    run.braked = true;
    assert!(!counted(&run, &timeout));
    let run = given(SAGA).when([event("OrderPlaced"), event("ExtraFailed")]);
    assert!(!counted(&run, &Input::Due(run.now)));
    let release = escrow::saga::input::Command {
        action: Action::Release,
        step: None,
        actor: "ann".to_owned(),
        reason: "seen to".to_owned(),
    };
    assert!(!counted(&held(), &Input::Command(release)));
}
