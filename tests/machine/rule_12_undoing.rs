//! Rule 12: undoing in reverse order and in rounds, closed by its event or the broker's word; what makes it stuck.

use escrow::saga::input::Action;
use escrow::saga::outgoing::{Content, derived_id};
use escrow::saga::time::Span;
use serde_json::json;

use super::run::{ORDER_ID, Run, given};
use super::when::{at, command, confirm, due, event, gap};

const CHAIN: &str = "
steps:
  placed: { done: OrderPlaced, compensation: { publish: Unplace, done: Unplaced } }
  payment: { after: placed, done: Paid, compensation: { publish: Refund, done: Refunded, failed: RefundRefused, within: 5m } }
  stock: { after: payment, done: Reserved, within: 1m, on_timeout: compensate, compensation: { publish: Release, done: Released, within: 1m, retry: { times: 2, every: 10s, backoff: 2 } } }
  shipping: { after: stock, done: Shipped, failed: NotShipped, within: 1h, on_timeout: compensate }
cancelled_by: OrderCancelled
";

fn turned() -> Run {
    given(CHAIN)
        .when([event("OrderPlaced"), event("Paid"), event("Reserved"), event("NotShipped"), due("1s")])
        .then("order: compensating\n sent: Release\n stock: compensating round 1 awaiting")
}

#[test]
fn it_goes_in_reverse_order_one_after_the_other() {
    turned()
        .when([confirm("routed"), at("10s").event("Released")])
        .then("sent: Refund\n stock: compensated round 1\n trail: confirmation stock (routed), event Released, compensation Refund")
        .when([event("Refunded")])
        .then("sent: Unplace")
        .when([event("Unplaced")])
        .then("order: compensated\n due: -\n told: compensated");
}

#[test]
fn nobody_waits_for_the_undoing_of_what_only_may_have_happened() {
    given(CHAIN)
        .when([event("OrderPlaced"), event("Paid"), due("1m")])
        .then("order: compensating\n sent: Release, Refund\n stock: compensating round 1 awaiting\n payment: compensating round 1 awaiting")
        .when([confirm("routed"), confirm("routed"), event("Refunded"), event("Unplaced")])
        .then("order: compensating\n sent: Unplace\n stock: compensating round 1 until 2m")
        .when([event("Released")])
        .then("order: compensated");
}

#[test]
fn an_uncertain_step_that_turns_out_done_is_waited_for_from_then_on() {
    given(CHAIN)
        .when([event("OrderPlaced"), event("Paid"), due("1m"), event("Reserved"), event("Refunded")])
        .then("sent: Release, Refund\n placed: done\n stock: compensating late round 1 awaiting")
        .when([event("Released")])
        .then("sent: Unplace");
}

#[test]
fn what_was_skipped_by_timeout_is_undone_and_what_a_person_or_a_condition_skipped_is_not() {
    let saga = "
steps:
  placed: { done: OrderPlaced }
  a: { after: placed, done: A, within: 10s, on_timeout: skip, compensation: { publish: UndoA, done: UndoneA } }
  b: { after: placed, done: B, within: 1h, compensation: { publish: UndoB, done: UndoneB } }
  c: { after: placed, done: C, failed: CFailed, within: 1h }
";
    given(saga)
        .when([event("OrderPlaced"), due("10s"), command(Action::Skip).on("b"), event("CFailed"), due("11s")])
        .then("sent: UndoA\n steps: placed done, a compensating, b skipped, c failed");
}

#[test]
fn without_a_done_the_word_of_the_broker_closes_it() {
    let saga = "
steps:
  placed: { done: OrderPlaced, compensation: { publish: Unplace } }
  c: { after: placed, done: C, failed: CFailed, within: 1h }
";
    let turned = || given(saga).when([event("OrderPlaced"), event("CFailed"), due("1s")]);
    turned().when([confirm("routed")]).then("order: compensated\n placed: compensated round 1");
    turned()
        .when([confirm("unroutable")])
        .then("order: stuck (compensation_unroutable placed)\n placed: compensation_failed round 1\n told: compensating, stuck")
        .when([command(Action::Retry)])
        .then("order: compensating\n sent: Unplace\n placed: compensating round 1 sending 2 awaiting\n told: -")
        .when([confirm("routed")])
        .then("order: compensated");
    turned().when([confirm("refused")]).then("order: stuck (compensation_refused placed)");
    turned().when([confirm("withheld")]).then("order: stuck (compensation_refused placed)");
}

#[test]
fn within_runs_from_the_confirm_and_then_it_is_sent_again_as_often_as_said_under_one_id() {
    let run = turned()
        .when([at("5s").confirm("routed")])
        .then("stock: compensating round 1 until 1m5s")
        .when([due("1m5s"), confirm("routed").at("1m6s")])
        .then("stock: compensating round 1 sending 2 until 1m16s\n sent: Release\n trail: compensation Release (sent again), confirmation stock (routed)")
        .when([due("1m16s"), confirm("routed").at("1m20s")])
        .then("stock: compensating round 1 sending 3 until 1m40s\n sent: Release")
        .when([due("1m40s")])
        .then("order: stuck (compensation_overdue stock)\n sent: -\n told: stuck\n trail: deadline Release");
    let ids: Vec<_> = run.outbox.iter().filter(|row| row.content.asks()).map(|row| row.message_id.clone()).collect();
    let expected = derived_id(&["order", ORDER_ID, "stock", "compensation", "1"]).to_string();
    assert_eq!(ids, vec![expected; 3]);
    run.when([at("2m").event("Released")])
        .then("order: compensating\n sent: Refund\n trail: late Released, compensation Refund");
}

#[test]
fn a_refusal_by_the_service_is_stuck_and_mended_by_its_done_or_a_person() {
    let refused = || {
        turned()
            .when([event("Released"), event("RefundRefused")])
            .then("order: stuck (compensation_failed payment)\n payment: compensation_failed round 1\n sent: Refund")
    };
    refused().when([event("Refunded")]).then("order: compensating\n sent: Unplace");
    refused().when([command(Action::Retry)]).then("order: compensating\n sent: Refund");
    refused().when([command(Action::Skip)]).then("order: compensating\n payment: skipped round 1\n sent: Unplace");
    refused().when([event("RefundRefused")]).then("trail: repeated RefundRefused");
}

#[test]
fn all_that_need_not_wait_for_a_stuck_compensation_is_undone_meanwhile() {
    let saga = "
steps:
  placed: { done: OrderPlaced, compensation: { publish: Unplace } }
  a: { after: placed, done: A, within: 1h, compensation: { publish: UndoA } }
  b: { after: placed, done: B, within: 1h, compensation: { publish: UndoB } }
cancelled_by: OrderCancelled
";
    given(saga)
        .when([event("OrderPlaced"), event("A"), event("B")])
        .when([command(Action::Note)])
        .then("order: completed");
    let saga = saga.replace("cancelled_by", "  c: { after: placed, done: C, within: 1h }\ncancelled_by");
    given(&saga)
        .when([event("OrderPlaced"), event("A"), event("B"), event("C").id("x"), event("OrderCancelled")])
        .then("order: completed");
    given(&saga)
        .when([event("OrderPlaced"), event("A"), event("B"), event("OrderCancelled"), due("1s")])
        .when([confirm("unroutable"), confirm("routed")])
        .then("order: stuck (compensation_unroutable b)\n a: compensated round 1\n placed: done\n sent: UndoB, UndoA");
}

#[test]
fn a_done_after_its_round_closed_begins_the_next() {
    let run = turned()
        .when([event("Released"), event("Refunded")])
        .then("sent: Refund, Unplace\n payment: compensated round 1")
        .when([event("Paid")])
        .then("payment: compensating late round 2 awaiting\n sent: Refund\n trail: late Paid, compensation Refund");
    let round = |round| derived_id(&["order", ORDER_ID, "payment", "compensation", round]).to_string();
    assert_eq!(run.last_ask().message_id, round("2"));
    run.when([event("Refunded"), event("Unplaced")]).then("order: compensated\n payment: compensated late round 2");
}

#[test]
fn one_round_covers_every_done_seen_before_it_closed() {
    turned()
        .when([event("Released"), event("Paid"), event("Refunded")])
        .then("payment: compensated round 1\n sent: Refund, Unplace\n trail: event Released, compensation Refund, repeated Paid, event Refunded, compensation Unplace");
}

#[test]
fn a_done_of_a_compensation_with_none_open_counts_only_after_the_steps_own_done() {
    given(CHAIN)
        .when([event("OrderPlaced"), event("Refunded"), event("Paid"), event("Reserved"), event("NotShipped"), due("1s")])
        .then("order: compensating\n payment: done\n trail: event OrderPlaced, late Refunded, event Paid, event Reserved, event NotShipped, deadline turning_back (shipping failed), compensation Release");
    given(CHAIN)
        .when([event("OrderPlaced"), event("Paid"), event("Refunded"), event("Reserved"), event("NotShipped")])
        .then("payment: done\n order: running")
        .when([due("1s"), event("Released")])
        .then("payment: compensated\n sent: Release, Unplace")
        .when([event("Refunded")])
        .then("trail: repeated Refunded");
}

#[test]
fn a_done_after_the_compensation_paid_in_advance_is_undone() {
    given(CHAIN)
        .when([
            event("OrderPlaced"),
            event("Paid"),
            event("Refunded"),
            event("Paid"),
            event("OrderCancelled"),
            due("1s"),
        ])
        .then("sent: Refund\n payment: compensating round 1 awaiting");
}

#[test]
fn without_publish_the_services_undo_by_themselves_and_escrow_expects_their_event() {
    let saga = "
steps:
  placed: { done: OrderPlaced, compensation: { done: Unplaced, within: 30s } }
  c: { after: placed, done: C, failed: CFailed, within: 1h }
";
    given(saga)
        .when([event("OrderPlaced"), event("CFailed"), due("1s")])
        .then("placed: compensating round 1 until 31s\n sent: -")
        .when([due("31s")])
        .then("order: stuck (compensation_overdue placed)\n told: stuck")
        .when([command(Action::Retry).at("40s")])
        .then("placed: compensating round 1 sending 2 until 1m10s\n sent: -")
        .when([event("Unplaced")])
        .then("order: compensated");
}

#[test]
fn a_template_that_fails_is_stuck_until_it_can_be_rendered_or_a_person_skips_it() {
    let saga = r#"
steps:
  placed: { done: OrderPlaced, compensation: { publish: { event: Unplace, exchange: shop, body: { ref: "{{ steps.placed.event.ref }}", try: "{{ attempt }}", why: "{{ reason }}" } } } }
  c: { after: placed, done: C, failed: CFailed, within: 1h }
"#;
    given(saga)
        .when([event("OrderPlaced").body(json!({ "ref": 7 })), event("CFailed"), due("1s")])
        .then(r#"payload: {"ref":7,"try":1,"why":"c failed"}"#)
        .when([confirm("unroutable"), command(Action::Retry)])
        .then(r#"payload: {"ref":7,"try":2,"why":"c failed"}"#);
    let failed = || {
        given(saga)
            .when([event("OrderPlaced").body(json!({})), event("CFailed"), due("1s")])
            .then("order: stuck (template_failed placed)\n placed: done\n sent: -")
    };
    failed().when([command(Action::Retry)]).then("order: stuck (template_failed placed)\n placed: done");
    failed().when([command(Action::Skip)]).then("order: failed\n placed: skipped");
    // A message that was erased meanwhile cannot be rendered again, and the compensation stays where a person can mend it.
    let mut run = given(saga).when([
        event("OrderPlaced").body(json!({ "ref": 7 })),
        event("CFailed"),
        due("1s"),
        confirm("unroutable"),
    ]);
    run.stored.clear();
    run.when([command(Action::Retry)])
        .then("order: stuck (template_failed placed)\n placed: compensation_failed round 1")
        .when([command(Action::Retry)])
        .then("order: stuck (template_failed placed)\n placed: compensation_failed round 1")
        .when([command(Action::Skip)])
        .then("order: failed");
}

#[test]
fn what_a_compensation_publishes_is_the_definitions_or_a_cloudevent() {
    let run = turned();
    let Content::Compensation { exchange, routing_key, body, .. } = &run.last_ask().content else { panic!() };
    assert_eq!((exchange.as_str(), routing_key.as_str()), ("escrow", "order.stock.compensate"));
    assert_eq!(body["type"], "Release");
    assert_eq!(body["subject"], ORDER_ID);
    assert_eq!(body["source"], "/escrow/order");
    assert_eq!(body["id"], run.last_ask().message_id);
    assert_eq!(body["data"]["reason"], "shipping failed");
    assert_eq!(body["data"]["attempt"], 1);
}

#[test]
fn parts_of_a_counted_step_are_undone_also_where_it_never_opened_or_never_filled() {
    let saga = "
steps:
  placed: { done: OrderPlaced }
  gate: { after: placed, done: Gate, failed: GateFailed, within: 1h }
  parcels: { after: gate, done: Parcel, count: 2, by: /p, within: 1h, compensation: { publish: Recall, done: Recalled } }
  open: { after: placed, done: Opened, count: 2, by: /p, within: 30s, compensation: { publish: Close, done: Closed } }
";
    given(saga)
        .when([
            event("OrderPlaced"),
            event("Parcel").part("a"),
            event("Opened").part("a"),
            event("GateFailed"),
            due("1s"),
        ])
        .then("steps: placed done, gate failed, parcels compensating, open waiting\n sent: Recall")
        .when([event("Opened").part("b")])
        .then("open: compensating round 1 awaiting\n sent: Close");
    given(saga)
        .when([event("OrderPlaced"), event("Opened").part("a"), event("GateFailed"), due("1s"), due("30s")])
        .then("open: compensating round 1 awaiting\n sent: Close\n parcels: pending");
}

#[test]
fn a_counted_step_that_was_done_with_nothing_counted_has_nothing_to_undo() {
    let saga = "
steps:
  placed: { done: OrderPlaced }
  parcels: { after: placed, done: Shipped, count: 0, by: /parcel, compensation: { publish: Recall } }
  note: { after: placed, done: Noted }
";
    given(saga)
        .when([event("OrderPlaced")])
        .then("steps: placed done, parcels done, note waiting")
        .when([command(Action::Compensate), command(Action::Skip).on("note")])
        .then("order: failed\n sent: -");
}

#[test]
fn a_done_of_a_compensation_in_advance_counts_once_and_only_for_what_was_done() {
    let saga = "
steps:
  placed: { done: OrderPlaced, compensation: { publish: Unplace, done: Unplaced } }
  parcels: { after: placed, done: Shipped, count: 0, by: /parcel, compensation: { publish: Recall, done: Recalled } }
  note: { after: placed, done: Noted }
";
    given(saga)
        .when([event("OrderPlaced"), event("Unplaced"), event("Unplaced"), event("Recalled")])
        .then("trail: event OrderPlaced, event Unplaced, repeated Unplaced, late Recalled\n order: running");
}

#[test]
fn the_word_of_the_broker_gives_a_compensation_its_whole_time_whatever_a_person_gave_it_before() {
    turned()
        .when([command(Action::Extend(Span::from_secs(1))).on("stock"), at("10s").confirm("routed")])
        .then("stock: compensating round 1 until 1m10s");
    turned()
        .when([command(Action::Extend(Span::from_secs(600))).on("stock"), at("10s").confirm("routed")])
        .then("stock: compensating round 1 until 10m1s");
}

#[test]
fn an_overdue_compensation_in_doubt_is_not_sent_again_and_the_trail_says_why() {
    turned()
        .when([confirm("routed"), gap(), due("2m")])
        .then("order: stuck (compensation_overdue stock)\n sent: -\n trail: confirmation stock (routed), deadline Release <gap>");
}
