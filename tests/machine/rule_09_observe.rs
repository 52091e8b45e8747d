//! Rule 9: in mode `observe` no order acts, and the journal says what it would send.

use escrow::saga::definition::Mode;
use escrow::saga::input::Action;

use super::run::given;
use super::when::{at, command, due, event, mode};

const SAGA: &str = "
mode: observe
steps:
  placed: { done: OrderPlaced, compensation: { publish: Unplace, done: Unplaced } }
  payment: { after: placed, done: Paid, failed: Declined, within: 30s, compensation: { publish: Refund, done: Refunded, retry: { times: 1, every: 5s }, within: 1m } }
  packing: { after: payment, done: Packed, within: 1m, retry: { times: 1, every: 10s, to: { queue: packing } }, on_timeout: compensate }
";

#[test]
fn retries_are_counted_and_written_down_but_not_sent() {
    given(SAGA)
        .when([event("OrderPlaced"), event("Paid"), due("1m")])
        .then("trail: event OrderPlaced, event Paid, would_send packing [retry of packing to queue packing]\n sent: -\n packing: waiting attempts 1 until 1m10s\n told: -")
        .when([due("1m10s")])
        .then(
            "order: stuck (observe packing)
             trail: deadline packing, would_send [Refund for payment, Unplace for placed]
             told: packing.timed_out, stuck
             sent: -",
        );
}

#[test]
fn a_failure_is_withheld_and_a_late_done_still_recovers() {
    given(SAGA)
        .when([event("OrderPlaced"), event("Declined"), due("1s")])
        .then("order: stuck (observe payment)\n trail: event OrderPlaced, event Declined, deadline turning_back (payment failed), would_send [Unplace for placed]")
        .when([event("Paid")])
        .then("order: running\n payment: done late\n told: payment.recovered");
}

#[test]
fn commands_that_send_do_not_fit_and_others_do() {
    let stuck = || given(SAGA).when([event("OrderPlaced"), event("Paid"), due("1m"), due("2m")]);
    for action in [Action::Retry, Action::Compensate, Action::Release] {
        let run = stuck().when([command(action)]);
        assert!(run.show("answer").contains("in mode observe"), "{}", run.show("answer"));
        run.then("order: stuck (observe packing)");
    }
    stuck().when([command(Action::Drop)]).then("order: stuck (timed_out packing)\n sent: -");
    stuck().when([command(Action::Skip)]).then("order: completed");
    stuck().when([command(Action::Close)]).then("order: closed");
}

#[test]
fn what_was_decided_in_observe_stays_until_a_person_releases_it() {
    given(SAGA)
        .when([
            event("OrderPlaced"),
            event("Paid"),
            due("1m"),
            due("2m"),
            mode(Mode::Act),
            at("3m").event("OrderPlaced"),
        ])
        .then("order: stuck (observe packing)\n sent: -")
        .when([command(Action::Release)])
        .then("order: compensating\n sent: Refund");
}

#[test]
fn the_mode_at_the_moment_of_decision_counts() {
    given(SAGA)
        .when([event("OrderPlaced"), event("Declined"), mode(Mode::Act), due("1s")])
        .then("order: compensating\n sent: Unplace");
}

#[test]
fn an_order_on_its_way_back_asks_nothing_more_in_observe() {
    let observed = || {
        given(SAGA)
            .when([mode(Mode::Act), event("OrderPlaced"), event("Paid"), due("1m")])
            .when([super::when::confirm("routed"), due("1m10s")])
            .then("sent: Paid again, retry 1, Refund")
            .when([mode(Mode::Observe)])
    };
    observed()
        .when([event("Refunded")])
        .then("order: stuck (observe)\n trail: event Refunded, would_send placed [Unplace for placed]\n sent: -")
        .when([mode(Mode::Act), event("Refunded")])
        .then("order: stuck (observe)\n sent: -")
        .when([command(Action::Release)])
        .then("order: compensating\n sent: Unplace");
    observed()
        .when([super::when::confirm("routed"), due("10m")])
        .then("order: stuck (compensation_overdue payment)\n sent: -\n trail: confirmation payment (routed), deadline Refund, would_send [Refund for payment]");
}
