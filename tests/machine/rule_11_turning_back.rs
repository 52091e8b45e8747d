//! Rule 11: an order on its way back opens and retries nothing more, and how it ends.

use super::run::given;
use super::when::{at, confirm, due, event};

const SAGA: &str = "
steps:
  placed: { done: OrderPlaced }
  payment: { after: placed, done: Paid, failed: Declined, within: 30s, compensation: { publish: Refund, done: Refunded } }
  stock: { after: placed, done: Reserved, failed: OutOfStock, within: 1m, on_timeout: compensate, retry: { times: 2, every: 5s, to: original }, compensation: { publish: Release, done: Released } }
  shipping: { after: [payment, stock], done: Shipped, within: 1h }
cancelled_by: OrderCancelled
";

#[test]
fn steps_that_wait_keep_their_deadlines_and_join_the_undoing_as_they_close() {
    let turned = || {
        given(SAGA)
            .when([event("OrderPlaced"), event("Declined"), due("1s")])
            .then("order: compensating\n stock: waiting until 1m\n due: 1m\n sent: -\n told: compensating")
    };
    turned().when([due("1m")]).then("stock: compensating round 1 awaiting\n sent: Release\n told: stock.timed_out");
    turned()
        .when([at("5s").event("Reserved")])
        .then("stock: compensating round 1 awaiting\n sent: Release\n shipping: pending\n trail: event Reserved, compensation Release")
        .when([confirm("routed"), event("Released")])
        .then("order: compensated\n stock: compensated round 1\n told: compensated");
    turned().when([at("5s").event("OutOfStock")]).then("order: failed\n stock: failed\n sent: -\n told: failed");
}

#[test]
fn a_retry_that_is_not_sent_yet_is_taken_back() {
    let run = given(SAGA)
        .when([event("OrderPlaced"), event("Paid"), due("1m"), event("OrderCancelled"), due("1m1s")])
        .then("stock: waiting attempts 1 until 1m6s\n sent: OrderPlaced again, retry 1, Refund");
    let asks: Vec<_> = run.unsettled.iter().map(|row| row.content.word()).collect();
    assert_eq!(asks, ["compensation"]);
    run.when([due("1m6s")]).then("stock: compensating attempts 1 round 1 awaiting\n sent: Release");
}

#[test]
fn it_ends_compensated_else_cancelled_else_failed() {
    given(SAGA)
        .when([event("OrderPlaced"), event("Declined"), event("OutOfStock"), due("1s")])
        .then("order: failed\n told: failed");
    given(SAGA)
        .when([event("OrderPlaced"), event("Declined"), event("OutOfStock"), event("OrderCancelled"), due("1s")])
        .then("order: cancelled\n told: cancelled");
    given(SAGA)
        .when([event("OrderPlaced"), event("Paid"), event("OutOfStock"), due("1s"), event("Refunded")])
        .then("order: compensated\n told: compensating, compensated");
}

#[test]
fn it_does_not_end_while_a_step_without_deadline_waits() {
    let saga = "
steps:
  placed: { done: OrderPlaced }
  slow: { after: placed, done: Slow }
cancelled_by: OrderCancelled
within: 1h
";
    given(saga)
        .when([event("OrderPlaced"), event("OrderCancelled"), due("1s")])
        .then("order: compensating\n due: 1h")
        .when([due("1h")])
        .then("order: stuck (order_overdue)\n told: stuck")
        .when([event("Slow")])
        .then("order: cancelled\n due: -");
}

#[test]
fn an_order_overdue_is_stuck_and_nothing_more() {
    given(SAGA)
        .when([event("OrderPlaced"), event("Paid"), event("Reserved")])
        .when([super::when::command(escrow::saga::input::Action::Extend(escrow::saga::time::Span::from_secs(999_999))).on("shipping")])
        .when([due("7d")])
        .then("order: stuck (order_overdue)\n shipping: waiting until 11d14h\n sent: -\n trail: event OrderPlaced, event Paid, event Reserved, command extend (ticket 7), deadline order")
        .when([event("Shipped")])
        .then("order: completed");
}

#[test]
fn an_order_overdue_that_turns_back_is_told_to_compensate_and_stays_stuck() {
    let saga = "
steps:
  placed: { done: OrderPlaced, compensation: { publish: Unplace, done: Unplaced } }
  slow: { after: placed, done: Slow, failed: SlowFailed, within: 2h }
within: 1h
";
    given(saga)
        .when([event("OrderPlaced"), due("1h"), event("SlowFailed"), due("1h1m")])
        .then("order: stuck (order_overdue)\n sent: Unplace\n told: stuck, compensating")
        .when([event("Unplaced")])
        .then("order: compensated\n told: compensated");
}
