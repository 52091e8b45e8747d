//! Rule 1: any event creates its order; done beats failed, all done beats cancelled; the loser is a conflict.

use super::run::given;
use super::when::{at, due, event};

const SAGA: &str = "
steps:
  placed: { done: OrderPlaced }
  payment: { after: placed, done: PaymentProcessed, failed: PaymentDeclined, within: 30s }
  shipping: { after: payment, done: Shipped, within: 1m }
cancelled_by: OrderCancelled
";

#[test]
fn whichever_event_comes_first_creates_the_order() {
    given(SAGA).when([event("OrderPlaced")]).then(
        "order: running
         steps: placed done, payment waiting, shipping pending
         payment: waiting until 30s
         trail: event OrderPlaced
         told: -",
    );
    given(SAGA).when([event("PaymentProcessed")]).then(
        "order: running
         steps: placed waiting, payment done, shipping waiting
         payment: done early
         unproven: beginning",
    );
    given(SAGA).when([event("PaymentDeclined")]).then(
        "steps: placed waiting, payment pending, shipping pending
         payment: pending failure kept",
    );
    given(SAGA).when([event("OrderCancelled")]).then("steps: placed waiting, payment pending, shipping pending");
}

#[test]
fn one_event_applies_to_every_step_that_names_it_before_anything_opens() {
    let saga = "
steps:
  placed: { done: OrderPlaced }
  a: { after: placed, done: Both, within: 10s }
  b: { after: a, done: Both, within: 10s }
  c: { after: b, done: Last, failed: Both, within: 10s, on_failure: alert }
";
    given(saga).when([event("OrderPlaced"), at("1s").event("Both")]).then(
        "steps: placed done, a done, b done, c failed
         b: done early
         order: stuck (failed c)",
    );
}

#[test]
fn a_done_before_its_step_opened_closes_it_at_once() {
    given(SAGA).when([event("Shipped"), event("PaymentProcessed"), event("OrderPlaced")]).then(
        "order: completed
         shipping: done early
         placed: done",
    );
}

#[test]
fn a_failure_before_its_step_opened_is_kept_and_decided_when_it_opens() {
    given(SAGA)
        .when([event("PaymentDeclined"), at("2s").event("OrderPlaced")])
        .then("payment: failed\n due: 2s\n order: running")
        .when([due("3s")])
        .then("order: failed\n told: failed");
}

#[test]
fn done_beats_failed_in_both_orders_and_the_loser_is_a_conflict() {
    given(SAGA).when([event("OrderPlaced"), event("PaymentProcessed"), event("PaymentDeclined")]).then(
        "payment: done
         trail: event OrderPlaced, event PaymentProcessed, conflict PaymentDeclined (lost against PaymentProcessed)
         order: running",
    );
    given(SAGA).when([event("OrderPlaced"), event("PaymentDeclined"), event("PaymentProcessed")]).then(
        "payment: done
         trail: event OrderPlaced, event PaymentDeclined, event PaymentProcessed, conflict PaymentDeclined (lost against PaymentProcessed)
         order: running
         told: -",
    );
    given(SAGA).when([event("PaymentDeclined"), event("PaymentProcessed"), event("OrderPlaced")]).then(
        "payment: done early
         trail: event PaymentDeclined, event PaymentProcessed, conflict PaymentDeclined (lost against PaymentProcessed), event OrderPlaced
         shipping: waiting until 1m",
    );
}

#[test]
fn all_done_beats_cancelled_until_the_cancellation_is_decided() {
    let begun = [event("OrderPlaced"), event("PaymentProcessed")];
    given(SAGA).when(begun.clone()).when([event("OrderCancelled"), event("Shipped")]).then(
        "order: completed
         trail: event OrderPlaced, event PaymentProcessed, event OrderCancelled, event Shipped, conflict OrderCancelled (lost against completion)
         due: -",
    );
    given(SAGA).when(begun.clone()).when([event("Shipped"), event("OrderCancelled")]).then(
        "order: completed
         trail: event OrderPlaced, event PaymentProcessed, event Shipped, late OrderCancelled
         answer: late",
    );
    given(SAGA)
        .when(begun)
        .when([event("OrderCancelled"), due("1s")])
        .then("order: compensating\n steps: placed done, payment done, shipping waiting")
        .when([at("2s").event("Shipped")])
        .then("order: cancelled");
}

#[test]
fn what_comes_after_the_decision_is_late() {
    given(SAGA)
        .when([event("OrderPlaced"), event("PaymentDeclined"), due("1s")])
        .then("order: failed")
        .when([at("2s").event("PaymentProcessed")])
        .then("order: failed\n payment: done late\n trail: late PaymentProcessed\n answer: late");
}

#[test]
fn a_cancellation_is_the_cause_whether_it_comes_before_or_after_a_failure() {
    for events in [["PaymentDeclined", "OrderCancelled"], ["OrderCancelled", "PaymentDeclined"]] {
        given(SAGA)
            .when([event("OrderPlaced")])
            .when(events.map(event))
            .when([due("1s")])
            .then("order: cancelled\n payment: failed");
    }
}

#[test]
fn when_one_of_two_causes_goes_the_other_still_counts() {
    let saga = "
steps:
  placed: { done: OrderPlaced }
  a: { after: placed, done: ADone, failed: AFailed, within: 30s }
  b: { after: placed, done: BDone, failed: BFailed, within: 30s }
";
    given(saga)
        .when([event("OrderPlaced"), event("AFailed"), event("BFailed"), event("ADone")])
        .then("steps: placed done, a done, b failed")
        .when([due("1s")])
        .then("order: failed\n trail: deadline turning_back (b failed)");
}
