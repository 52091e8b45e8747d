//! What holds after every input of every test, whatever the saga.

use std::collections::BTreeSet;

use escrow::saga::definition::{Mode, Saga};
use escrow::saga::input::Input;
use escrow::saga::journal::{EntryBody, chain, fold, same};
use escrow::saga::machine::{Outcome, ResultOf, unproven};
use escrow::saga::order::{Circumstances, Life, Order, Status, StepState};
use escrow::saga::outgoing::Outgoing;

pub fn hold(
    saga: &Saga,
    before: &Order,
    input: &Input,
    with: &Circumstances<'_>,
    outcome: &Outcome,
    sent: &[Outgoing],
) {
    always(before, outcome, sent);
    nobody_is_asked_in_doubt_or_in_mode_observe(saga, before, input, with, outcome);
    if outcome.result == ResultOf::Duplicate {
        let counted = Order { duplicates: before.duplicates + 1, ..before.clone() };
        assert_eq!(outcome.order, counted, "a duplicate changes the count and nothing else");
    } else if outcome.entries.is_empty() {
        assert_eq!(outcome.order, *before, "what changed is written down");
        assert!(outcome.outbox.is_empty(), "what is sent is written down");
    }
    if let Input::Due(watermark) = input {
        assert!(outcome.order.next_due().is_none_or(|at| at > *watermark), "what is due fires, and fires once");
        if before.next_due().is_none_or(|at| at > *watermark) {
            assert!(outcome.entries.is_empty(), "before every deadline nothing is due");
        }
    }
}

/// Whatever happened, a move to another version too.
pub fn always(before: &Order, outcome: &Outcome, sent: &[Outgoing]) {
    the_trail_folds_to_the_order(before, outcome);
    stuck_is_exactly_when_something_is_needed(&outcome.order);
    something_holds_the_order_up(&outcome.order);
    an_ended_order_has_nothing_armed(&outcome.order);
    rows_are_named_once(outcome, sent);
    the_order_survives_being_stored(&outcome.order);
}

/// Promise 5: the trail has no holes, its hashes chain, and it folds to exactly the order.
fn the_trail_folds_to_the_order(before: &Order, outcome: &Outcome) {
    let mut folded = (before.sequence > 0).then(|| before.clone());
    let mut head = before.head;
    for sealed in &outcome.entries {
        let (entry, text) = (&sealed.entry, &sealed.text);
        let read: EntryBody = serde_json::from_str(text).expect("an entry reads back");
        assert_eq!(read, entry.body, "an entry reads back as it was written");
        head = chain(&head, &before.key, entry.sequence, entry.at, entry.kind, entry.actor.as_deref(), text);
        assert_eq!(head, sealed.hash, "the hash covers the entry as it is stored");
        let mut next = fold(folded.take(), &before.key, entry).expect("the trail has no holes");
        next.head = head;
        folded = Some(next);
    }
    if let Some(folded) = folded.filter(|_| outcome.result != ResultOf::Duplicate) {
        same(&folded, &outcome.order).expect("the trail folds to the order");
    }
}

/// Section 3: an order that has not ended has an armed deadline, an unsent message, or is stuck.
fn something_holds_the_order_up(order: &Order) {
    let awaits = order.steps.iter().any(|step| step.awaiting.is_some());
    let held_up = order.next_due().is_some() || awaits || order.life.status == Status::Stuck;
    assert!(order.life.status.is_ended() || order.sequence == 0 || held_up, "forgotten: {order:#?}");
}

fn stuck_is_exactly_when_something_is_needed(order: &Order) {
    let needs = !order.life.needs.is_empty();
    assert_eq!(needs, order.life.status == Status::Stuck, "{:#?}", order.life);
    assert_eq!(order.life.ended_at.is_some(), order.life.status.is_ended(), "{:#?}", order.life);
}

fn an_ended_order_has_nothing_armed(order: &Order) {
    if order.life.status.is_ended() {
        assert_eq!(order.next_due(), None, "{order:#?}");
        assert!(order.steps.iter().all(|step| step.awaiting.is_none()), "{order:#?}");
    }
}

/// Rules 8 and 9. A doubt may begin or end with the very entry, so one that holds on both sides of it counts.
fn nobody_is_asked_in_doubt_or_in_mode_observe(
    saga: &Saga,
    before: &Order,
    input: &Input,
    with: &Circumstances<'_>,
    outcome: &Outcome,
) {
    if matches!(input, Input::Command(_)) {
        return;
    }
    let mut at = (before.sequence > 0).then(|| before.clone());
    for sealed in &outcome.entries {
        let next = fold(at.clone(), &before.key, &sealed.entry).expect("the trail has no holes");
        let asks = outcome.outbox.iter().any(|row| row.sequence == sealed.entry.sequence && row.content.asks());
        if asks {
            assert_eq!(with.mode, Mode::Act, "nothing is asked in mode observe");
            let vouched = next.life.turn.as_ref().is_some_and(|turn| turn.vouched);
            let doubted = |order: &Order| !unproven(saga, order, with.doubts).is_empty();
            let in_doubt = at.as_ref().is_none_or(doubted) && doubted(&next);
            assert!(vouched || !in_doubt, "an unproven order does not act: {next:#?}");
        }
        at = Some(next);
    }
}

fn rows_are_named_once(outcome: &Outcome, sent: &[Outgoing]) {
    let all = sent.iter().chain(&outcome.outbox);
    let keys: BTreeSet<_> = all.clone().map(|row| row.key).collect();
    assert_eq!(keys.len(), all.clone().count(), "every row of the outbox has a name of its own");
    let tellings = all.filter(|row| !row.content.asks());
    let ids: BTreeSet<_> = tellings.clone().map(|row| &row.message_id).collect();
    assert_eq!(ids.len(), tellings.count(), "every telling has an id of its own");
}

fn the_order_survives_being_stored(order: &Order) {
    let life: Life = serde_json::from_str(&serde_json::to_string(&order.life).unwrap()).unwrap();
    assert_eq!(life, order.life);
    let steps: Vec<StepState> = serde_json::from_str(&serde_json::to_string(&order.steps).unwrap()).unwrap();
    assert_eq!(steps, order.steps);
}
