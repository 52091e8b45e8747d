//! Rule 3: when a step opens, by when it is due, what expressions say about it, and what a trigger does.

use serde_json::json;

use super::run::given;
use super::when::{at, due, event};

const CONDITIONAL: &str = "
steps:
  placed: { done: OrderPlaced }
  replenish: { when: StockLow, done: StockReplenished, failed: NoStock, within: 2h, on_failure: alert }
  packing: { after: [placed, replenish], done: Packed, failed: PackingFailed, within: 10m }
  shipping: { after: packing, done: Shipped, within: 1h }
";

#[test]
fn a_step_opens_when_all_it_comes_after_are_done_and_is_due_from_when_escrow_saw_it() {
    let saga = "
steps:
  placed: { done: OrderPlaced }
  a: { after: placed, done: A, within: 30s }
  b: { after: placed, done: B }
  join: { after: [a, b], done: Joined, within: 1m }
";
    given(saga)
        .when([event("OrderPlaced"), at("10s").event("A")])
        .then("steps: placed done, a done, b waiting, join pending\n b: waiting")
        .when([at("20s").event("B")])
        .then("join: waiting until 1m20s\n order: running")
        .when([at("30s").event("Joined")])
        .then("order: completed\n told: -");
}

#[test]
fn failed_and_timed_out_hold_what_comes_after() {
    given(CONDITIONAL).when([event("OrderPlaced"), due("11m")]).then(
        "steps: placed done, replenish pending, packing timed_out, shipping pending\n order: stuck (timed_out packing)",
    );
    given(CONDITIONAL).when([event("StockLow"), event("OrderPlaced"), event("NoStock")]).then(
        "steps: placed done, replenish failed, packing pending, shipping pending\n order: stuck (failed replenish)",
    );
}

#[test]
fn an_untriggered_conditional_step_counts_as_skipped() {
    given(CONDITIONAL)
        .when([event("OrderPlaced"), event("Packed"), event("Shipped")])
        .then("order: completed\n replenish: pending");
}

#[test]
fn a_trigger_sends_a_waiting_dependent_back_and_it_opens_anew() {
    given(CONDITIONAL)
        .when([event("OrderPlaced"), at("5m").event("StockLow")])
        .then("replenish: waiting until 2h5m\n packing: pending")
        .when([due("20m")])
        .then("packing: pending\n order: running")
        .when([at("1h").event("StockReplenished")])
        .then("packing: waiting until 1h10m");
}

#[test]
fn a_trigger_takes_back_the_undecided_failure_of_a_dependent() {
    for events in [["PackingFailed", "StockLow"], ["StockLow", "PackingFailed"]] {
        given(CONDITIONAL)
            .when([event("OrderPlaced")])
            .when(events.map(event))
            .then("packing: pending failure kept\n replenish: waiting until 2h\n order: running")
            .when([due("1s")])
            .then("order: running\n trail: -")
            .when([at("2s").event("StockReplenished"), due("3s")])
            .then("packing: failed\n order: failed");
    }
}

#[test]
fn a_trigger_on_a_completed_order_opens_its_step_and_the_order_runs_again_unproven() {
    given(CONDITIONAL)
        .when([event("OrderPlaced"), event("Packed"), event("Shipped")])
        .then("order: completed\n due: -")
        .when([at("1m").event("StockLow")])
        .then("order: running\n replenish: waiting until 2h1m\n unproven: completed")
        .when([at("2m").event("StockReplenished")])
        .then("order: completed\n unproven: completed\n due: -");
}

#[test]
fn a_trigger_of_a_step_already_done_changes_nothing() {
    given(CONDITIONAL)
        .when([event("OrderPlaced"), event("StockReplenished"), event("Packed"), event("Shipped"), event("StockLow")])
        .then("order: completed\n replenish: done early\n unproven: -")
        .when([event("StockLow")])
        .then("trail: repeated StockLow");
}

#[test]
fn a_failure_before_its_trigger_is_kept_also_on_a_completed_order() {
    given(CONDITIONAL)
        .when([event("OrderPlaced"), event("Packed"), event("Shipped"), event("NoStock")])
        .then("order: completed\n replenish: pending failure kept")
        .when([event("StockLow")])
        .then("order: stuck (failed replenish)");
}

#[test]
fn if_is_looked_at_when_the_step_would_open() {
    let saga = "
attributes: { gift: /gift }
steps:
  placed: { done: OrderPlaced }
  note: { if: attributes.gift == true, after: placed, done: NotePrinted, within: 1h }
  shipping: { after: note, done: Shipped, within: 1h }
";
    given(saga)
        .when([event("OrderPlaced").attribute("gift", json!(true))])
        .then("note: waiting until 1h\n shipping: pending\n attributes: gift=true");
    given(saga)
        .when([event("OrderPlaced").attribute("gift", json!(false))])
        .then("note: skipped\n shipping: waiting until 1h")
        .when([at("1m").event("NotePrinted")])
        .then("note: done late\n shipping: waiting until 1h\n trail: late NotePrinted");
    given(saga).when([event("OrderPlaced")]).then("order: stuck (template_failed note)\n note: pending\n told: stuck");
}

#[test]
fn count_opens_with_a_number_and_closes_with_that_many_different_parts() {
    let saga = r#"
steps:
  placed: { done: OrderPlaced }
  parcels:
    after: placed
    done: ParcelShipped
    count: "{{ size(steps.placed.event.parcels) }}"
    by: /parcel
    within: 24h
  review: { after: parcels, done: Reviewed, within: 24h }
"#;
    let placed = |parcels| event("OrderPlaced").body(json!({ "parcels": parcels }));
    given(saga)
        .when([placed(json!(["a", "b"])), event("ParcelShipped").part("a"), event("ParcelShipped").part("a")])
        .then("parcels: waiting until 1d\n trail: event OrderPlaced, event ParcelShipped, repeated ParcelShipped")
        .when([at("1h").event("ParcelShipped").part("b")])
        .then("parcels: done\n review: waiting until 1d1h");
    given(saga).when([placed(json!([]))]).then("parcels: done\n review: waiting until 1d");
    given(saga)
        .when([event("ParcelShipped").part("b"), event("ParcelShipped").part("a"), placed(json!(["a", "b"]))])
        .then("parcels: done early\n review: waiting until 1d");
    given(saga).when([placed(json!(7))]).then("order: stuck (template_failed parcels)\n parcels: pending");
}

#[test]
fn a_trigger_makes_a_counted_dependent_count_anew_when_it_opens_again() {
    let saga = "
steps:
  placed: { done: OrderPlaced }
  extra: { when: ExtraAsked, done: ExtraReady, within: 1h }
  parcels: { after: [placed, extra], done: ParcelShipped, count: 2, by: /parcel, within: 24h }
";
    given(saga)
        .when([event("OrderPlaced"), event("ParcelShipped").part("a"), event("ExtraAsked")])
        .when([event("ParcelShipped").part("b")])
        .then("parcels: pending")
        .when([event("ExtraReady")])
        .then("parcels: done early\n order: completed");
}

#[test]
fn within_may_be_a_duration_or_a_moment() {
    let saga = r#"
steps:
  placed: { done: OrderPlaced }
  pickup: { after: placed, done: PickedUp, within: "{{ steps.placed.event.patience }}" }
"#;
    let placed = |patience: serde_json::Value| event("OrderPlaced").body(json!({ "patience": patience }));
    given(saga).when([placed(json!("90s"))]).then("pickup: waiting until 1m30s");
    given(saga).when([placed(json!("2026-01-01T00:10:00Z"))]).then("pickup: waiting until 10m");
    given(saga).when([placed(json!("soon"))]).then("order: stuck (template_failed pickup)");
    given(saga).when([placed(json!(5))]).then("order: stuck (template_failed pickup)");
}

#[test]
fn a_moment_in_the_past_is_due_now_and_not_before_what_is_in_the_tap_is_applied() {
    let saga = r#"
steps:
  placed: { done: OrderPlaced }
  pickup: { after: placed, done: PickedUp, within: "{{ steps.placed.event.by }}" }
"#;
    given(saga)
        .when([at("1m").event("OrderPlaced").body(json!({ "by": "2025-12-31T00:00:00Z" }))])
        .then("pickup: waiting until 1m")
        .when([due("59s")])
        .then("pickup: waiting until 1m\n trail: -")
        .when([due("1m")])
        .then("pickup: timed_out");
}

#[test]
fn expressions_see_the_root_and_what_they_come_after_and_nothing_else() {
    let saga = "
attributes: { gift: /gift }
steps:
  placed: { done: OrderPlaced }
  other: { after: placed, done: Other, within: 1h }
  note: { if: has(attributes.gift), after: placed, done: NotePrinted, within: 1h }
  card: { if: has(attributes.gift), after: other, done: CardPrinted, within: 1h }
";
    let other = || event("Other").attribute("gift", json!(true));
    for events in [[other(), event("OrderPlaced")], [event("OrderPlaced"), other()]] {
        given(saga).when(events).then("note: skipped\n card: waiting until 1h\n attributes: gift=true");
    }
}

#[test]
fn a_template_that_failed_needs_a_person_and_the_event_is_applied() {
    let saga = r#"
steps:
  placed: { done: OrderPlaced }
  pickup: { after: placed, done: PickedUp, within: "{{ steps.placed.event.by }}" }
  payment: { after: placed, done: Paid, within: 1m }
"#;
    given(saga)
        .when([event("OrderPlaced").body(json!({}))])
        .then(
            "steps: placed done, pickup pending, payment waiting
             order: stuck (template_failed pickup)
             trail: event OrderPlaced
             told: stuck",
        )
        .when([at("10s").event("PickedUp")])
        .then("pickup: done early\n order: running");
}

#[test]
fn what_a_step_has_seen_stays_when_a_trigger_sends_it_back() {
    let saga = "
steps:
  placed: { done: OrderPlaced }
  extra: { when: ExtraAsked, done: ExtraReady, within: 1h }
  gift: { when: GiftAsked, done: Wrapped, failed: NotWrapped, within: 1h, on_failure: wait, after: [placed, extra], compensation: { publish: Unwrap, done: Unwrapped } }
  parcels: { after: [placed, extra], done: ParcelShipped, count: 3, by: /parcel, within: 2h, compensation: { publish: TakeBack, done: TakenBack } }
cancelled_by: OrderCancelled
";
    let run = given(saga)
        .when([event("OrderPlaced"), event("GiftAsked"), event("ParcelShipped").part("a")])
        .then("gift: waiting until 1h\n parcels: waiting until 2h");
    let (gift, parcels) = (run.order.steps[2].clone(), run.order.steps[3].clone());
    let run = run.when([event("ExtraAsked")]).then("gift: pending\n parcels: pending");
    // Its own trigger is not asked for twice, and what was shipped was shipped: it is undone, too.
    assert_eq!((&run.order.steps[2].trigger, gift.trigger.is_some()), (&gift.trigger, true));
    assert_eq!((&run.order.steps[3].event, &run.order.steps[3].undo), (&parcels.event, &parcels.undo));
    assert!(parcels.event.is_some() && parcels.undo.dones == 1);
    run.clone().when([at("5m").event("ExtraReady")]).then("gift: waiting until 1h5m\n parcels: waiting until 2h5m");
    run.when([event("OrderCancelled"), due("1m")])
        .then("sent: TakeBack\n parcels: compensating early round 1 awaiting");
}

#[test]
fn only_steps_that_wait_or_may_still_be_decided_are_sent_back() {
    let saga = "
steps:
  placed: { done: OrderPlaced }
  extra: { when: ExtraAsked, done: ExtraReady, within: 1h }
  a: { after: [placed, extra], done: A, within: 1m }
  b: { after: [placed, extra], done: B, failed: BFailed, on_failure: alert, within: 1h }
  c: { after: placed, done: C, within: 1h }
";
    given(saga)
        .when([event("OrderPlaced"), event("BFailed"), due("1m")])
        .then("order: stuck (failed b, timed_out a)\n steps: placed done, extra pending, a timed_out, b failed, c waiting")
        .when([event("ExtraAsked")])
        .then("steps: placed done, extra waiting, a timed_out, b pending, c waiting\n order: stuck (timed_out a)");
}

#[test]
fn a_count_is_a_whole_number_and_a_time_is_not_before_now() {
    let saga = r#"
steps:
  placed: { done: OrderPlaced }
  parcels: { after: placed, done: Shipped, count: "{{ steps.placed.event.n }}", by: /part, within: 1h }
"#;
    for n in [json!(1.5), json!(-1), json!("2"), json!(null)] {
        given(saga).when([event("OrderPlaced").body(json!({ "n": n }))]).then("order: stuck (template_failed parcels)");
    }
    let short = r#"
steps:
  placed: { done: OrderPlaced }
  a: { after: placed, done: A, within: "{{ steps.placed.event.by }}" }
  b: { after: placed, done: B, within: "{{ duration(steps.placed.event.by) }}" }
"#;
    given(short)
        .when([at("10s").then(event("OrderPlaced").body(json!({ "by": "30s" })))])
        .then("a: waiting until 40s\n b: waiting until 40s");
}
