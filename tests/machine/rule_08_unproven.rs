//! Rule 8: an unproven order tells and alerts but never acts by itself; when the doubt goes, it goes on.

use escrow::saga::input::Action;

use super::run::given;
use super::when::{at, command, due, event, gap, no_doubts, reconsider, unreadable};

const SAGA: &str = "
steps:
  placed: { done: OrderPlaced, compensation: { publish: Unplace, done: Unplaced } }
  payment: { after: placed, done: Paid, failed: Declined, within: 30s, on_timeout: compensate, compensation: { publish: Refund, done: Refunded } }
  packing: { after: payment, done: Packed, within: 1m, retry: { times: 2, every: 10s, to: original } }
  shipping: { after: packing, done: Shipped, within: 1h }
cancelled_by: OrderCancelled
within: 3h
";

#[test]
fn beginning_holds_until_the_root_is_done() {
    given(SAGA)
        .when([event("Paid")])
        .then("unproven: beginning\n packing: waiting until 1m")
        .when([due("1m")])
        .then(
            "order: stuck (unproven packing)
             packing: timed_out withheld
             trail: deadline packing <beginning>
             told: packing.timed_out, stuck
             sent: -",
        )
        .when([at("2m").event("OrderPlaced")])
        .then("unproven: -\n order: running\n packing: waiting until 3m\n sent: -")
        .when([due("3m")])
        .then("sent: Paid again, retry 1");
}

#[test]
fn an_order_in_beginning_is_complete_once_all_but_its_roots_are() {
    given(SAGA)
        .when([event("Paid"), event("Packed"), event("Shipped")])
        .then("order: completed\n placed: waiting\n due: -")
        .when([event("Declined"), event("OrderPlaced")])
        .then("order: completed\n placed: done\n due: -");
}

#[test]
fn an_order_that_never_began_is_closed_past_its_within() {
    given(SAGA)
        .when([event("Paid"), due("4h")])
        .then("order: closed never_opened\n due: -\n sent: -")
        .when([event("OrderPlaced")])
        .then("order: closed never_opened\n answer: late\n placed: waiting");
}

#[test]
fn a_gap_withholds_the_turning_back_until_it_goes() {
    given(SAGA)
        .when([event("OrderPlaced"), at("10s").event("Declined"), gap(), due("11s")])
        .then(
            "order: stuck (unproven payment)
             unproven: gap
             trail: event OrderPlaced, event Declined, deadline turning_back (payment failed) <gap>
             sent: -",
        )
        .when([no_doubts(), at("20s").then(reconsider())])
        .then("order: running\n due: 20s\n trail: deadline doubt_gone")
        .when([due("21s")])
        .then("order: compensating\n sent: Unplace");
}

#[test]
fn a_timeout_withheld_in_doubt_waits_again_with_a_fresh_within_when_the_doubt_goes() {
    given(SAGA)
        .when([event("OrderPlaced"), gap(), due("30s")])
        .then("order: stuck (unproven payment)\n payment: timed_out withheld")
        .when([no_doubts(), at("40s").then(reconsider())])
        .then("order: running\n payment: waiting until 1m10s")
        .when([due("1m10s")])
        .then("order: compensating\n told: payment.timed_out, compensating\n sent: Refund, Unplace");
}

#[test]
fn any_input_notices_that_the_doubt_is_gone() {
    given(SAGA)
        .when([event("OrderPlaced"), gap(), due("30s"), no_doubts(), at("40s").event("OrderPlaced")])
        .then("order: running\n payment: waiting until 1m10s\n trail: event OrderPlaced, deadline payment <gap>, repeated OrderPlaced");
}

#[test]
fn reconsidering_while_the_doubt_holds_changes_nothing() {
    given(SAGA)
        .when([event("OrderPlaced"), gap(), due("30s")])
        .then("order: stuck (unproven payment)")
        .when([at("50s").then(reconsider())])
        .then("trail: -\n order: stuck (unproven payment)");
}

#[test]
fn a_gap_concerns_the_orders_open_at_that_moment() {
    given(SAGA).when([at("1s").then(gap()), at("2s").event("OrderPlaced")]).then("unproven: -");
    given(SAGA).when([event("OrderPlaced"), at("2s").then(gap())]).then("unproven: gap");
    let ended = || given(SAGA).when(["OrderPlaced", "Paid", "Packed", "Shipped"].map(event)).then("order: completed");
    ended().when([at("2s").then(gap())]).then("unproven: -");
    ended().when([gap()]).then("unproven: gap");
}

#[test]
fn a_message_that_could_not_be_read_concerns_its_order_or_those_that_wait_for_its_event() {
    let begun = || given(SAGA).when([event("OrderPlaced"), at("1s").event("Paid")]);
    begun().when([unreadable(None, Some("101"))]).then("unproven: quarantine");
    begun().when([unreadable(None, Some("102"))]).then("unproven: -");
    begun().when([unreadable(Some("Packed"), None)]).then("unproven: quarantine");
    begun().when([unreadable(Some("Paid"), None)]).then("unproven: -");
    begun().when([unreadable(None, None)]).then("unproven: quarantine");
    begun().when([unreadable(Some("Packed"), None), event("Packed")]).then("unproven: -");
}

#[test]
fn on_the_way_back_it_concerns_what_waits_for_that_very_undoing() {
    let turned = || given(SAGA).when([event("OrderPlaced"), event("Paid"), event("OrderCancelled"), due("1s")]);
    turned()
        .then("payment: compensating round 1 awaiting")
        .when([unreadable(Some("Refunded"), None)])
        .then("unproven: quarantine");
    turned().when([unreadable(Some("Unplaced"), None)]).then("unproven: -");
}

#[test]
fn inferred_never_goes_by_itself() {
    given(SAGA)
        .when([event("OrderPlaced").inferred(), due("30s")])
        .then("order: stuck (unproven payment)\n unproven: inferred")
        .when([at("1m").then(reconsider())])
        .then("order: stuck (unproven payment)\n trail: -");
}

#[test]
fn evidence_is_a_done_after_the_overdue_step_and_goes_with_its_own() {
    given(SAGA)
        .when([event("OrderPlaced"), event("Packed"), due("30s")])
        .then("order: stuck (unproven payment)\n unproven: evidence\n trail: event OrderPlaced, event Packed, deadline payment <evidence>\n sent: -")
        .when([at("40s").event("Paid")])
        .then("order: running\n unproven: -\n payment: done late\n shipping: waiting until 1h\n told: payment.recovered");
}

#[test]
fn a_reopened_order_never_acts() {
    let saga = "
steps:
  placed: { done: OrderPlaced, compensation: { publish: Unplace } }
  extra: { when: ExtraAsked, done: ExtraDone, within: 30s, on_timeout: compensate }
";
    given(saga)
        .when([event("OrderPlaced"), event("ExtraAsked"), due("30s")])
        .then("order: stuck (unproven extra)\n unproven: completed\n sent: -");
}

#[test]
fn an_alert_in_doubt_is_told_and_waits_again_when_the_doubt_goes() {
    given(SAGA)
        .when([event("OrderPlaced"), event("Paid"), event("Packed"), gap(), due("1h")])
        .then("order: stuck (timed_out shipping)\n shipping: timed_out withheld\n told: shipping.timed_out, stuck")
        .when([no_doubts(), at("90m").then(reconsider())])
        .then("order: running\n shipping: waiting until 2h30m");
}

#[test]
fn what_is_held_by_the_brake_stays_held_when_a_doubt_about_another_step_goes() {
    let saga = "
steps:
  placed: { done: OrderPlaced, compensation: { publish: Unplace } }
  a: { after: placed, done: A, within: 10s, on_timeout: compensate }
  b: { after: placed, done: B, within: 20s, retry: { times: 1, every: 5s, to: original } }
";
    given(saga)
        .when([super::when::brake(true), event("OrderPlaced"), due("10s"), gap(), due("20s")])
        .then("order: stuck (held a, unproven b)")
        .when([no_doubts(), at("30s").then(reconsider())])
        .then("order: stuck (held a)\n b: waiting until 50s\n a: timed_out")
        .when([command(Action::Release)])
        .then("order: compensating\n sent: Unplace");
}

#[test]
fn compensations_are_held_back_when_doubt_arises_on_the_way_back() {
    given(SAGA)
        .when([event("OrderPlaced"), event("Paid"), event("OrderCancelled"), due("1s")])
        .then("sent: Refund\n packing: waiting until 1m")
        .when([gap(), at("5s").event("Refunded")])
        .then("sent: -\n order: stuck (unproven)\n trail: event Refunded, deadline compensations_held_back <gap>")
        .when([no_doubts(), at("9s").then(reconsider())])
        .then("order: compensating\n sent: Unplace\n told: -");
}

#[test]
fn a_cancellation_in_doubt_is_decided_anew_or_dropped() {
    let held = || given(SAGA).when([event("OrderCancelled"), due("1s")]);
    held().then("order: stuck (unproven)\n unproven: beginning");
    held()
        .when([at("5s").event("OrderPlaced")])
        .then("order: running\n due: 5s")
        .when([due("6s")])
        .then("order: compensating\n sent: Unplace");
    held()
        .when([command(Action::Drop), at("5s").event("OrderPlaced"), due("6s")])
        .then("order: running\n payment: waiting until 35s");
}

#[test]
fn a_person_answers_for_an_unproven_order() {
    given(SAGA)
        .when([event("Paid"), due("1m"), command(Action::Release)])
        .then("sent: Paid again, retry 1\n order: running\n packing: waiting attempts 1 awaiting");
}

#[test]
fn a_turning_back_that_was_withheld_is_not_decided_again_because_another_cause_went() {
    let saga = "
steps:
  placed: { done: OrderPlaced, compensation: { publish: Unplace, done: Unplaced } }
  a: { after: placed, done: A, failed: AFailed, within: 1h }
  b: { after: placed, done: B, failed: BFailed, within: 1h }
";
    given(saga)
        .when([event("OrderPlaced"), gap().at("1s"), event("AFailed"), due("2s")])
        .then("order: stuck (unproven a)\n sent: -")
        .when([at("3s").event("BFailed")])
        .then("order: stuck (unproven a)\n b: failed")
        .when([at("3s").event("B"), due("4s")])
        .then("order: stuck (unproven a)\n b: done\n sent: -");
}
