//! Rule 13: what a late `done` does, and a cancellation after the end.

use escrow::saga::input::Action;

use super::run::given;
use super::when::{at, command, confirm, due, event};

const SAGA: &str = "
steps:
  placed: { done: OrderPlaced }
  payment: { after: placed, done: Paid, failed: Declined, within: 30s, on_failure: alert }
  stock: { after: payment, done: Reserved, failed: OutOfStock, within: 30s, on_timeout: skip, compensation: { publish: Release, done: Released } }
  parcel: { after: stock, done: Shipped, failed: NotShipped, within: 1h, late: ignore, compensation: { publish: Recall, done: Recalled } }
  plain: { after: stock, done: Plain, within: 10s }
cancelled_by: OrderCancelled
";

#[test]
fn on_a_step_that_waits_for_a_person_it_recovers_the_order() {
    given(SAGA)
        .when([event("OrderPlaced"), due("30s"), at("40s").event("Paid")])
        .then("payment: done late\n order: running\n stock: waiting until 1m10s\n told: payment.timed_out, stuck, payment.recovered");
    given(SAGA)
        .when([event("OrderPlaced"), event("Declined"), at("40s").event("Paid")])
        .then("payment: done late\n order: running\n told: stuck, payment.recovered\n answer: late");
}

#[test]
fn stuck_is_told_each_time_it_begins() {
    given(SAGA)
        .when([event("OrderPlaced"), event("Declined"), event("Paid"), event("Reserved"), due("10s")])
        .then("told: stuck, payment.recovered, plain.timed_out, stuck\n order: stuck (timed_out plain)");
}

#[test]
fn on_a_skipped_step_it_is_done_and_its_followers_stay() {
    given(SAGA)
        .when([event("OrderPlaced"), event("Paid"), due("30s")])
        .then("stock: skipped\n parcel: waiting until 1h")
        .when([at("50s").event("Reserved")])
        .then("stock: done late\n parcel: waiting until 1h\n answer: late\n told: -")
        .when([event("OrderCancelled"), due("51s")])
        .then("sent: Release");
}

#[test]
fn after_the_order_turned_back_the_late_effect_is_undone_or_left_as_the_definition_says() {
    let turned = || given(SAGA).when([event("OrderPlaced"), event("Paid"), event("OrderCancelled"), due("1s")]);
    turned()
        .when([event("OutOfStock")])
        .then("order: cancelled")
        .when([at("2h").event("Reserved")])
        .then("order: compensating\n stock: compensating late round 1 awaiting\n sent: Release\n told: compensating\n answer: late")
        .when([confirm("routed"), event("Released")])
        .then("order: compensated\n told: compensated\n due: -");
    turned()
        .when([event("OutOfStock"), event("Shipped")])
        .then("order: cancelled\n parcel: done late\n sent: -")
        .when([event("Plain")])
        .then("order: cancelled\n plain: done late\n sent: -");
}

#[test]
fn a_closed_order_stays_closed_whatever_comes() {
    given(SAGA)
        .when([event("OrderPlaced"), command(Action::Close)])
        .then("order: closed\n due: -\n told: -")
        .when([event("Paid"), event("Declined"), event("OrderCancelled"), event("OrderPlaced")])
        .then("order: closed\n payment: waiting\n trail: late Paid, late Declined, late OrderCancelled, late OrderPlaced\n sent: -");
}

#[test]
fn a_cancellation_twice_or_after_the_end_is_late() {
    given(SAGA)
        .when([event("OrderPlaced"), event("OrderCancelled"), event("OrderCancelled")])
        .then("trail: event OrderPlaced, event OrderCancelled, late OrderCancelled")
        .when([due("1s"), event("OrderCancelled"), event("Declined"), event("OrderCancelled")])
        .then("order: cancelled\n trail: deadline turning_back (cancelled), late OrderCancelled, event Declined, late OrderCancelled");
}

#[test]
fn a_failure_after_the_order_turned_back_changes_only_a_step_that_waits() {
    given(SAGA)
        .when([event("OrderPlaced"), event("Paid"), event("OrderCancelled"), due("1s"), due("30s")])
        .then("stock: compensating round 1 awaiting\n sent: Release")
        .when([event("OutOfStock"), event("NotShipped"), event("Declined")])
        .then("stock: compensating round 1 awaiting\n parcel: pending\n trail: late OutOfStock, late NotShipped, conflict Declined (lost against Paid)");
}
