//! Rule 2: the same message again is a duplicate; another message for a step already closed is `repeated`.

use serde_json::json;

use super::run::given;
use super::when::{at, due, event};

const SAGA: &str = "
steps:
  placed: { done: OrderPlaced }
  payment: { after: placed, done: PaymentProcessed, failed: PaymentDeclined, within: 30s, compensation: { publish: Refund, done: Refunded } }
  shipping: { after: payment, done: Shipped, within: 1m }
cancelled_by: OrderCancelled
";

#[test]
fn the_same_message_again_is_counted_and_not_journaled() {
    given(SAGA)
        .when([event("OrderPlaced").id("m1")])
        .then("answer: applied\n duplicates: 0\n trail: event OrderPlaced")
        .when([at("9s").event("OrderPlaced").id("m1"), event("OrderPlaced").id("m1")])
        .then("answer: duplicate\n duplicates: 2\n trail: -\n payment: waiting until 30s\n told: -");
}

#[test]
fn the_same_id_with_another_body_is_another_event() {
    given(SAGA)
        .when([event("OrderPlaced"), event("PaymentProcessed").id("m1").body(json!({ "amount": 1 }))])
        .when([event("PaymentProcessed").id("m1").body(json!({ "amount": 2 }))])
        .then("trail: event OrderPlaced, event PaymentProcessed, repeated PaymentProcessed\n duplicates: 0");
}

#[test]
fn the_same_id_under_another_name_is_another_event() {
    given(SAGA)
        .when([event("OrderPlaced").id("m1"), event("PaymentProcessed").id("m1")])
        .then("payment: done\n duplicates: 0");
}

#[test]
fn another_message_for_a_closed_step_is_repeated_and_changes_nothing() {
    given(SAGA)
        .when([event("OrderPlaced"), event("PaymentProcessed"), at("5s").event("PaymentProcessed")])
        .then("trail: event OrderPlaced, event PaymentProcessed, repeated PaymentProcessed\n payment: done\n answer: applied")
        .when([event("Shipped"), event("PaymentProcessed")])
        .then("order: completed\n trail: event Shipped, repeated PaymentProcessed");
}

#[test]
fn a_second_failure_is_repeated() {
    given(SAGA)
        .when([event("PaymentDeclined"), event("PaymentDeclined"), event("OrderPlaced"), event("PaymentDeclined")])
        .then("trail: event PaymentDeclined, repeated PaymentDeclined, event OrderPlaced, repeated PaymentDeclined");
}

#[test]
fn a_message_without_id_is_never_a_duplicate_by_itself() {
    given(SAGA)
        .when([event("OrderPlaced").without_id(), event("OrderPlaced").without_id()])
        .then("trail: event OrderPlaced, repeated OrderPlaced\n duplicates: 0");
}

#[test]
fn a_duplicate_on_an_ended_order_is_a_duplicate() {
    given(SAGA)
        .when([event("OrderPlaced"), event("OrderCancelled").id("c"), due("1s")])
        .when([event("OrderCancelled").id("c")])
        .then("answer: duplicate\n duplicates: 1");
}
