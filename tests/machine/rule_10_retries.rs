//! Rule 10: overdue: retries first, if any are left; then `timed_out`, the telling, and `on_timeout`.

use escrow::saga::outgoing::derived_id;

use super::run::{ORDER_ID, given};
use super::when::{at, confirm, due, event};

const SAGA: &str = "
steps:
  placed: { done: OrderPlaced }
  packing: { after: placed, done: Packed, within: 1m, retry: { times: 3, every: 20s, backoff: 2, to: { queue: packing } } }
  note: { after: packing, done: Noted, within: 10s, on_timeout: skip }
";

#[test]
fn each_retry_waits_every_times_backoff_from_the_word_of_the_broker() {
    given(SAGA)
        .when([event("OrderPlaced"), due("1m")])
        .then(
            "packing: waiting attempts 1 awaiting
             trail: event OrderPlaced, retry packing
             sent: OrderPlaced again, retry 1
             told: packing.retried
             order: running",
        )
        .when([at("1m10s").confirm("routed")])
        .then("packing: waiting attempts 1 until 1m30s\n trail: confirmation packing (routed)")
        .when([due("1m30s"), confirm("withheld").at("1m31s")])
        .then(
            "packing: waiting attempts 2 until 2m11s\n trail: retry packing, withheld packing (withheld: no consumer)",
        )
        .when([due("2m11s"), confirm("unroutable").at("2m20s")])
        .then("packing: waiting attempts 3 until 3m40s")
        .when([due("3m40s")])
        .then("order: stuck (timed_out packing)\n told: packing.timed_out, stuck\n sent: -\n trail: deadline packing");
}

/// The trail names each attempt by an id that anybody can derive again.
#[test]
fn each_attempt_has_a_name_of_its_own() {
    let named = |attempt| derived_id(&["order", ORDER_ID, "packing", "retry", attempt]).to_string();
    given(SAGA)
        .when([event("OrderPlaced"), due("1m")])
        .then(&format!("ids: {}", named("1")))
        .when([confirm("routed"), due("2m")])
        .then(&format!("ids: {}", named("2")));
}

#[test]
fn no_deadline_runs_while_a_retry_is_unsent() {
    given(SAGA)
        .when([event("OrderPlaced"), due("1m"), due("1h")])
        .then("packing: waiting attempts 1 awaiting\n sent: OrderPlaced again, retry 1");
}

#[test]
fn an_answer_after_a_retry_saves_the_order_and_the_late_word_of_the_broker_changes_nothing() {
    given(SAGA)
        .when([event("OrderPlaced"), due("1m"), event("Packed")])
        .then("packing: done attempts 1\n note: waiting until 1m10s")
        .when([confirm("routed")])
        .then("trail: confirmation nobody_waits (routed)\n packing: done attempts 1");
}

#[test]
fn on_timeout_skip_goes_on_and_tells() {
    given(SAGA)
        .when([event("OrderPlaced"), event("Packed"), due("10s")])
        .then("note: skipped\n order: completed\n told: note.timed_out");
}

#[test]
fn what_is_sent_again_is_the_message_that_opened_the_step() {
    let saga = "
steps:
  placed: { done: OrderPlaced }
  skipped: { after: placed, done: Never, within: 5s, on_timeout: skip }
  packing: { after: skipped, done: Packed, within: 10s, retry: { times: 1, every: 20s, to: original } }
  extra: { when: ExtraAsked, done: ExtraDone, within: 10s, retry: { times: 1, every: 20s, to: original } }
  join: { after: [placed, packing], done: Joined, within: 10s, retry: { times: 1, every: 20s, to: original, message: packing } }
";
    given(saga).when([event("OrderPlaced"), due("5s"), due("15s")]).then("sent: OrderPlaced again, retry 1");
    given(saga)
        .when([event("OrderPlaced"), due("5s"), event("Packed"), event("ExtraAsked"), due("15s")])
        .then("sent: ExtraAsked again, retry 1, Packed again, retry 1");
}

#[test]
fn a_step_no_message_opened_times_out_without_a_retry() {
    let saga = "
steps:
  placed: { done: OrderPlaced }
  packing: { after: placed, done: Packed, within: 10s, retry: { times: 1, every: 20s, to: original } }
cancelled_by: OrderCancelled
";
    given(saga).when([event("OrderPlaced").without_id(), due("10s")]).then("packing: waiting attempts 1 awaiting");
    given(saga)
        .when([event("OrderCancelled"), super::when::command(escrow::saga::input::Action::Skip).on("placed")])
        .then("packing: waiting until 10s\n unproven: -")
        .when([super::when::command(escrow::saga::input::Action::Drop)])
        .then("order: running")
        .when([due("10s")])
        .then("packing: timed_out\n sent: -");
}
