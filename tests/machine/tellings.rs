//! What Escrow says about an order, and under which ids.

use std::collections::BTreeSet;

use escrow::saga::outgoing::{Content, EXCHANGE, derived_id};

use serde_json::json;

use super::run::{ORDER_ID, given};
use super::when::{at, confirm, due, event};

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

#[test]
fn a_telling_says_why_an_order_is_stuck_or_turns_back() {
    let run = given(SAGA).when([event("OrderPlaced"), due("10s")]);
    let told = run.outbox.iter().filter_map(|row| match &row.content {
        Content::Telling { routing_key, body } => Some((routing_key.as_str(), body["data"]["reason"].as_str())),
        Content::Retry { .. } | Content::Compensation { .. } => None,
    });
    let reasons: Vec<_> = told.collect();
    assert!(reasons.contains(&("order.stuck", Some("timed_out"))), "{reasons:?}");
}

#[test]
fn a_compensation_sees_the_order_the_step_the_time_and_what_is_known_of_finished_steps() {
    let saga = r#"
attributes: { customer: /customer }
steps:
  placed: { done: OrderPlaced }
  payment:
    after: placed
    done: Paid
    retry: { times: 1, every: 10s, to: original }
    within: 1m
    compensation:
      publish:
        event: Refund
        exchange: undo
        body: { saga: "{{ saga }}", order: "{{ order_id }}", step: "{{ step }}", now: "{{ now }}", reason: "{{ reason }}", attempt: "{{ attempt }}", who: "{{ attributes.customer }}", steps: "{{ steps }}" }
      done: Refunded
      retry: { times: 3, every: 10s }
      within: 1m
  parcels: { after: payment, done: Shipped, count: 3, by: /part, failed: NotShipped, within: 1h }
"#;
    let run = given(saga)
        .when([event("OrderPlaced").body(json!({"n": 1})).attribute("customer", json!("ann")), due("1m")])
        .when([confirm("routed"), event("Paid").body(json!({"sum": 5}))])
        .when([event("Shipped").part("a").body(json!({"part": "a"})), at("2m").event("NotShipped"), due("3m")]);
    let Content::Compensation { body, .. } = &run.last_ask().content else { panic!("{:?}", run.last_ask()) };
    assert_eq!((&body["saga"], &body["order"], &body["step"]), (&json!("order"), &json!(ORDER_ID), &json!("payment")));
    assert_eq!(body["now"], json!("2026-01-01T00:03:00Z"), "the moment of the decision");
    assert_eq!(body["reason"], json!("parcels failed"));
    assert_eq!(
        (&body["attempt"], &body["who"]),
        (&json!(1), &json!("ann")),
        "of the compensation, not of the retry before"
    );
    // A counted step that is not full has happened all the same.
    let steps = body["steps"].as_object().unwrap();
    assert_eq!(steps.keys().collect::<Vec<_>>(), ["parcels", "payment", "placed"]);
    assert_eq!(
        (&steps["payment"]["event"], &steps["payment"]["at"]),
        (&json!({"sum": 5}), &json!("2026-01-01T00:01:00Z"))
    );
    assert_eq!(steps["parcels"]["events"], json!([{"part": "a"}]));
    // A step that only failed, or never had its event, is no finished one.
    let failed = given(&saga.replace("count: 3, by: /part, ", "")).when([
        event("OrderPlaced").attribute("customer", json!("ann")),
        event("Paid"),
        event("NotShipped"),
        due("3m"),
    ]);
    let Content::Compensation { body, .. } = &failed.last_ask().content else { panic!() };
    assert_eq!(body["steps"].as_object().unwrap().keys().collect::<Vec<_>>(), ["payment", "placed"]);
}

#[test]
fn conditions_and_times_see_the_same_names_when_a_step_opens() {
    for (condition, opens) in [
        ("order_id == '101'", true),
        ("saga == 'order'", true),
        ("step == 'note'", true),
        ("timestamp(now) == timestamp('2026-01-01T00:05:00Z')", true),
        ("timestamp(now) == timestamp('2026-01-01T00:06:00Z')", false),
        ("steps.placed.event.n == 1", true),
    ] {
        let saga = format!(
            "\nsteps:\n  placed: {{ done: OrderPlaced }}\n  note: {{ if: \"{condition}\", after: placed, done: Printed, within: 1h }}\n"
        );
        let note = if opens { "note: waiting until 1h5m" } else { "note: skipped" };
        given(&saga).when([at("5m").then(event("OrderPlaced").body(json!({"n": 1})))]).then(note);
    }
}
