//! Rule 6: a deadline fires only when the watermark has passed it. (Rule 4, own messages, and rule 5, the line of
//! arrival, are decided before the machine; what it keeps of rule 5 is here.)

use super::run::given;
use super::when::{at, due, event};

const SAGA: &str = "
steps:
  placed: { done: OrderPlaced }
  payment: { after: placed, done: PaymentProcessed, within: 30s }
  note: { after: placed, done: NotePrinted, within: 10s, on_timeout: skip }
within: 1m
";

#[test]
fn before_the_watermark_passes_it_nothing_is_due_whatever_the_clock_says() {
    given(SAGA)
        .when([event("OrderPlaced"), due("9s")])
        .then("trail: event OrderPlaced\n note: waiting until 10s")
        .when([at("5m").event("NotePrinted"), at("5m").event("PaymentProcessed")])
        .then("order: completed\n note: done\n told: -");
}

#[test]
fn what_is_due_fires_earliest_first_each_with_an_entry_of_its_own() {
    given(SAGA)
        .when([event("OrderPlaced"), due("2m")])
        .then(
            "trail: event OrderPlaced, deadline note, deadline payment, deadline order
             steps: placed done, payment timed_out, note skipped
             order: stuck (timed_out payment, order_overdue)
             told: note.timed_out, payment.timed_out, stuck",
        )
        .when([due("3m")])
        .then("trail: -\n due: -");
}

#[test]
fn a_deadline_fires_at_the_moment_it_names() {
    given(SAGA).when([event("OrderPlaced"), due("10s")]).then("note: skipped");
}

#[test]
fn an_ended_order_has_nothing_due() {
    given(SAGA)
        .when([event("OrderPlaced"), event("PaymentProcessed"), event("NotePrinted")])
        .then("order: completed\n due: -")
        .when([due("9m")])
        .then("trail: -");
}

#[test]
fn a_clock_that_goes_back_does_not_take_the_trail_back() {
    let run = given(SAGA).when([at("20s").event("OrderPlaced"), at("5s").event("NotePrinted")]);
    assert!(run.journal.windows(2).all(|pair| pair[0].at <= pair[1].at));
    run.then("payment: waiting until 50s\n note: done");
}

#[test]
fn an_event_placed_by_arrival_marks_the_order_and_the_entry() {
    let run = given(SAGA).when([event("OrderPlaced"), event("PaymentProcessed").inferred()]);
    assert!(run.journal[1].body.inferred && run.order.steps[1].inferred);
    run.then("unproven: inferred");
}
