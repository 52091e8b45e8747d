//! Rule 7: a failure or a cancellation is a deadline due at once, decided on the facts known then.

use super::run::given;
use super::when::{at, due, event};

const SAGA: &str = "
steps:
  placed: { done: OrderPlaced, compensation: { publish: Unplace, done: Unplaced } }
  payment: { after: placed, done: Paid, failed: Declined, within: 30s, on_timeout: alert }
  lenient: { after: placed, done: Lent, failed: Refused, on_failure: wait, within: 1h }
  watched: { after: placed, done: Looked, failed: Blinded, on_failure: alert, within: 1h }
cancelled_by: OrderCancelled
";

#[test]
fn a_failure_waits_for_the_watermark() {
    given(SAGA)
        .when([event("OrderPlaced"), at("5s").event("Declined")])
        .then("order: running\n payment: failed\n due: 5s\n sent: -")
        .when([due("4s")])
        .then("order: running\n trail: -")
        .when([due("5s")])
        .then(
            "order: compensating
             trail: deadline turning_back (payment failed), compensation Unplace
             sent: Unplace
             told: compensating",
        );
}

#[test]
fn a_done_that_was_published_before_saves_the_order() {
    given(SAGA)
        .when([event("OrderPlaced"), at("5s").event("Declined"), at("5s").event("Paid"), due("6s")])
        .then("order: running\n payment: done\n sent: -\n told: -");
}

#[test]
fn a_failure_of_a_step_that_timed_out_turns_back_too() {
    given(SAGA)
        .when([event("OrderPlaced"), due("30s"), at("40s").event("Declined")])
        .then("order: running\n payment: failed late\n due: 40s\n told: payment.timed_out, stuck")
        .when([due("41s")])
        .then("order: compensating");
}

#[test]
fn a_done_after_the_timeout_and_an_undecided_failure_is_late_and_recovers() {
    given(SAGA)
        .when([event("OrderPlaced"), due("30s"), at("40s").event("Declined")])
        .then("order: running")
        .when([at("40s").event("Paid")])
        .then("payment: done late\n told: payment.recovered\n trail: late Paid, conflict Declined (lost against Paid)");
}

#[test]
fn on_failure_wait_goes_on_waiting_and_alert_needs_a_person() {
    given(SAGA)
        .when([event("OrderPlaced"), event("Refused"), due("10s")])
        .then("lenient: waiting failure kept until 1h\n order: running")
        .when([event("Lent")])
        .then("lenient: done\n order: running\n trail: event Lent");
    given(SAGA)
        .when([event("OrderPlaced"), event("Blinded")])
        .then("watched: failed\n order: stuck (failed watched)\n told: stuck")
        .when([at("9s").event("Looked")])
        .then("watched: done late\n order: running\n told: watched.recovered");
}

#[test]
fn a_cancellation_is_decided_by_the_watermark_too() {
    given(SAGA)
        .when([event("OrderPlaced"), at("5s").event("OrderCancelled")])
        .then("order: running\n due: 5s")
        .when([due("6s")])
        .then("order: compensating\n sent: Unplace\n trail: deadline turning_back (cancelled), compensation Unplace");
}
