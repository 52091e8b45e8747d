//! What Escrow says about an order, and under which ids.

use std::collections::BTreeSet;

use escrow::saga::outgoing::{Content, EXCHANGE, derived_id};

use super::run::{ORDER_ID, given};
use super::when::{due, event};

const SAGA: &str = "
steps:
  placed: { done: OrderPlaced }
  a: { after: placed, done: Both, within: 10s }
  b: { after: placed, done: Both, within: 10s }
";

#[test]
fn a_telling_is_a_cloudevent_with_the_progress_as_the_entry_leaves_it() {
    let run = given(SAGA).when([event("OrderPlaced"), due("10s")]);
    let Content::Telling { routing_key, body } = &run.outbox[0].content else { panic!() };
    assert_eq!(routing_key, "order.a.timed_out");
    assert_eq!(body["type"], "escrow.step.timed_out");
    assert_eq!((body["source"].as_str(), body["subject"].as_str()), (Some("/escrow/order"), Some(ORDER_ID)));
    assert_eq!(body["specversion"], "1.0");
    assert_eq!((body["data"]["status"].as_str(), body["data"]["step"].as_str()), (Some("stuck"), Some("a")));
    assert_eq!(body["data"]["steps"]["a"], "timed_out");
    assert_eq!(body["id"], run.outbox[0].message_id);
    assert_eq!(EXCHANGE, "escrow");
}

#[test]
fn the_id_of_a_telling_is_the_same_each_time_it_is_decided() {
    let ids = || {
        let run = given(SAGA).when([event("OrderPlaced"), due("10s")]);
        run.outbox.iter().map(|row| row.message_id.clone()).collect::<Vec<_>>()
    };
    assert_eq!(ids(), ids());
    assert_eq!(ids()[1], derived_id(&["order", ORDER_ID, "2", "escrow.order.stuck", ""]).to_string());
}

#[test]
fn two_steps_recovered_by_one_event_are_told_apart() {
    let run = given(SAGA)
        .when([event("OrderPlaced"), due("10s")])
        .then("told: a.timed_out, stuck, b.timed_out")
        .when([event("Both")])
        .then("told: a.recovered, b.recovered\n order: completed");
    let ids: BTreeSet<_> = run.outbox.iter().map(|row| &row.message_id).collect();
    assert_eq!(ids.len(), run.outbox.len());
}

#[test]
fn notify_says_which_tellings_are_sent() {
    let told = |notify: &str| {
        given(&format!("notify: {notify}\n{SAGA}")).when([event("OrderPlaced"), due("10s"), event("Both")])
    };
    told("[stuck, completed]").then("told: stuck, completed");
    told("[recovered]").then("told: a.recovered, b.recovered");
    told("[]").then("told: -");
}
