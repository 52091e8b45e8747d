//! One input's trouble stays its own; and what one batch does to what the same batch did before.

use escrow::bus::Delivery;
use escrow::saga::decide::{FromTap, Plan, Work};
use escrow::saga::definition::Mode;
use escrow::saga::input::{Action, Command, Confirmation, Verdict};
use escrow::saga::order::{Status, StuckReason};
use escrow::saga::time::Span;
use serde_json::json;

use super::stage::{START, Stage, event, key, message};

const SAGA: &str = "
saga: order
version: 1
watch: [{ exchange: shop }]
read: { event: /type, order_id: /order }
steps:
  placed: { done: Placed }
  paid:
    after: placed
    done: Paid
    within: 1m
    on_timeout: compensate
    compensation: { publish: Refund }
  sent:
    after: placed
    done: Sent
    within: 1m
    retry: { times: 3, every: 10s, to: original }
    on_timeout: compensate
    compensation: { publish: Recall }
cancelled_by: Cancelled
";

fn shop(name: &str, order: &str) -> Delivery {
    message("shop", Some(&format!("{name}-{order}")), &event(name, order))
}

fn command(order: &str, action: Action) -> Work {
    let (actor, reason) = ("ann".to_owned(), "she asked".to_owned());
    Work::Command(key("order", order), Box::new(Command { action, step: None, actor, reason }))
}

fn asked(stage: &Stage) -> usize {
    stage.outbox.iter().filter(|row| row.content.asks()).count()
}

#[test]
fn an_order_whose_row_cannot_be_read_costs_no_other_anything() {
    let mut stage = Stage::new([SAGA]);
    stage.batch(&[shop("Placed", "1"), shop("Placed", "2")]);
    stage.corrupt.insert(key("order", "1"));
    let later = stage.now + Span::from_secs(120);
    let work = vec![
        Work::Delivered(stage.read(&shop("Paid", "1"))),
        Work::Due(key("order", "1"), later),
        command("1", Action::Close),
        Work::Delivered(stage.read(&shop("Paid", "2"))),
    ];
    let changes = stage.work(work);
    assert_eq!(stage.reasons(), ["corrupt_order"]);
    assert_eq!(stage.quarantine[0].order_id.as_deref(), Some("1"));
    assert!(matches!(changes.answers.as_slice(), [Err(_)]));
    assert_eq!(changes.orders.len(), 1);
    assert_eq!(stage.steps("order", "2"), "placed done, paid done, sent waiting");
}

#[test]
fn the_brake_lets_its_budget_through_and_holds_the_rest_of_the_batch() {
    let mut stage = Stage::new([SAGA.replace("steps:", "brake: { orders: 2, per: 1m }\nsteps:").as_str()]);
    let ids = ["1", "2", "3", "4"];
    stage.batch(&ids.map(|id| shop("Placed", id)));
    stage.now = START + Span::from_secs(61);
    let changes = stage.work(ids.map(|id| Work::Due(key("order", id), stage.now)).to_vec());
    assert_eq!(changes.tally.deadlines_fired, 4);
    let [saved] = changes.states.as_slice() else { panic!("{:?}", changes.states) };
    assert_eq!(
        (saved.state.brake.turned.as_slice(), saved.state.brake.latched_at),
        (&[(stage.now, 2)][..], Some(stage.now))
    );
    let [latched] = saved.entries.as_slice() else { panic!("{:?}", saved.entries) };
    assert_eq!(latched.entry.body.name.as_deref(), Some("brake_latched"));
    let held = |id: &&str| stage.order("order", id).life.needs.iter().any(|need| need.reason == StuckReason::Held);
    assert_eq!(ids.iter().filter(|id| held(id)).count(), 2);
    assert_eq!(changes.fire_delays, [Span::from_secs(1); 4]);
}

#[test]
fn only_deadlines_that_may_turn_an_order_back_wait_for_the_brake() {
    let asks = |text: &str, work: Vec<Work>| !Stage::new([text]).plan(work).lookup().states.is_empty();
    let due = || vec![Work::Due(key("order", "1"), START)];
    assert!(asks(SAGA, due()), "the usual brake");
    assert!(!asks(&SAGA.replace("steps:", "brake: none\nsteps:"), due()));
    assert!(!asks(&SAGA.replace("on_timeout: compensate", "on_timeout: alert"), due()));
    let delivered = Work::Delivered(Stage::new([SAGA]).read(&shop("Placed", "1")));
    let others = vec![delivered, command("1", Action::Release), Work::Reconsider(key("order", "1"))];
    assert!(!asks(SAGA, others));
}

#[test]
fn a_latched_brake_holds_the_next_batch_and_says_so_once() {
    let mut stage = Stage::new([SAGA.replace("steps:", "brake: { orders: 1, per: 1m }\nsteps:").as_str()]);
    stage.batch(&["1", "2", "3"].map(|id| shop("Placed", id)));
    stage.now = START + Span::from_secs(61);
    let due = |stage: &Stage, id: &str| Work::Due(key("order", id), stage.now);
    let first = stage.work(vec![due(&stage, "1"), due(&stage, "2")]);
    assert_eq!(first.states[0].entries.len(), 1);
    stage.now = START + Span::from_secs(600);
    let later = stage.work(vec![due(&stage, "3")]);
    let held = stage.order("order", "3").life.needs.iter().any(|need| need.reason == StuckReason::Held);
    assert!(held && later.states[0].entries.is_empty(), "{:?}", later.states);
    // A person releases it: nothing is counted, and the brake stays as it is.
    let released = stage.work(vec![command("3", Action::Release)]);
    assert_eq!((released.answers.len(), released.states.len()), (1, 0));
    assert_eq!(stage.order("order", "3").life.status, Status::Compensating);
}

#[test]
fn what_a_later_input_of_the_batch_takes_back_is_never_written() {
    let mut stage = Stage::new([SAGA]);
    stage.batch(&[shop("Placed", "1"), shop("Placed", "2"), shop("Paid", "1"), shop("Paid", "2")]);
    stage.now = START + Span::from_secs(61);
    let now = stage.now;
    let due = |id: &str| Work::Due(key("order", id), now);
    // `sent` is retried; then the order is cancelled and turns back in the same batch.
    let cancelled = Work::Delivered(stage.read(&shop("Cancelled", "1")));
    let changes = stage.work(vec![due("1"), due("2"), cancelled, due("1")]);
    let retries = |rows: &[escrow::saga::outgoing::Outgoing], id: &str| {
        rows.iter().filter(|row| row.order.order_id == id && row.content.word() == "retry").count()
    };
    assert_eq!((retries(&changes.outbox, "1"), retries(&changes.outbox, "2")), (0, 1));
    assert_eq!(changes.withdrawn, [key("order", "1")], "and of what is stored");
    let undone = changes.outbox.iter().filter(|row| row.content.word() == "compensation");
    assert_eq!(undone.count(), 1, "what is asked for after that stays");
}

#[test]
fn a_command_that_does_not_fit_changes_nothing() {
    let mut stage = Stage::new([SAGA]);
    stage.batch(&[shop("Placed", "1")]);
    let changes = stage.work(vec![command("1", Action::Release), command("nobody", Action::Note)]);
    assert!(matches!(changes.answers.as_slice(), [Err(_), Err(_)]), "{:?}", changes.answers);
    assert!(changes.orders.is_empty());
    assert_eq!(stage.orders.len(), 1, "asking for an order does not make it");
}

#[test]
fn a_command_given_twice_under_one_key_is_done_once() {
    let mut stage = Stage::new([SAGA]);
    stage.batch(&[shop("Placed", "1")]);
    let plan = Plan { idempotency_key: Some("k".to_owned()), ..stage.plan(vec![command("1", Action::Note)]) };
    let first = stage.commit(&plan);
    let second = stage.commit(&plan);
    assert_eq!(first.answers, [Ok(2)]);
    assert_eq!((second.answers, second.orders.len(), stage.journal.len()), (vec![Ok(2)], 0, 2));
}

#[test]
fn the_word_on_a_telling_touches_no_order() {
    let mut stage = Stage::new([SAGA]);
    stage.batch(&[shop("Placed", "1")]);
    let confirmation = Confirmation { key: uuid::Uuid::nil(), verdict: Verdict::Routed };
    let settled = Work::Settled { order: key("order", "1"), confirmation, is_input: false };
    let plan = stage.plan(vec![settled]);
    assert!(plan.lookup().orders.is_empty());
    let changes = stage.commit(&plan);
    assert_eq!((changes.settled.len(), changes.orders.len()), (1, 0));
}

#[test]
fn in_observe_nothing_is_asked_and_the_stored_mode_wins() {
    let mut stage = Stage::new([SAGA]);
    stage.batch(&[shop("Placed", "1")]);
    stage.modes.insert("order".to_owned(), Mode::Observe);
    stage.now = START + Span::from_secs(61);
    stage.work(vec![Work::Due(key("order", "1"), stage.now)]);
    assert_eq!((asked(&stage), stage.order("order", "1").life.status), (0, Status::Stuck));
    assert!(stage.journal.iter().any(|(_, _, body)| !body.would_send.is_empty()));
}

#[test]
fn an_event_that_fails_its_condition_is_quarantined_with_a_doubt_about_its_own_order() {
    let mut stage =
        Stage::new([SAGA.replace("done: Paid", "done: { event: Paid, where: 'body.amount > 3' }").as_str()]);
    stage.batch(&[shop("Placed", "1"), shop("Placed", "2")]);
    let body = json!({"type": "Paid", "order": "1", "amount": "much"});
    let changes = stage.batch(&[message("shop", Some("x"), &body)]);
    assert_eq!(stage.reasons(), ["condition_failed"]);
    assert!(!changes.doubts[0].is_lost_commits(), "the database has lost nothing");
    assert_eq!(stage.doubts[0].order_id.as_deref(), Some("1"));
    stage.now = START + Span::from_secs(61);
    stage.work(vec![Work::Due(key("order", "1"), stage.now), Work::Due(key("order", "2"), stage.now)]);
    let unproven = |id| stage.order("order", id).life.needs.iter().any(|need| need.reason == StuckReason::Unproven);
    assert_eq!((unproven("1"), unproven("2")), (true, false));
}

#[test]
fn a_replay_that_is_still_not_read_says_why_and_changes_nothing() {
    let mut stage = Stage::new([SAGA]);
    let mut replay = |body: serde_json::Value| {
        let work = vec![Work::Delivered(stage.read(&message("shop", Some("m"), &body)))];
        let plan = Plan { must_apply: true, ..stage.plan(work) };
        stage.commit(&plan)
    };
    let refused = replay(json!({"type": "Placed", "order": 1.5}));
    assert!(refused.misplaced.is_some(), "{refused:?}");
    assert!(refused.orders.is_empty() && refused.quarantined.is_empty(), "{refused:?}");
    let applied = replay(json!({"type": "Placed", "order": "1"}));
    assert_eq!((applied.misplaced, applied.tally.applied), (None, 1));
}

#[test]
fn a_database_that_has_forgotten_a_batch_is_a_gap_for_what_the_batch_decides_too() {
    let mut stage = Stage::new([SAGA]);
    stage.batch(&[shop("Placed", "1")]);
    // Committed at START, as this replica remembers; what is loaded says nothing of it.
    let remembers = FromTap { committed_at: Some(START), ..stage.of_tap(Vec::new(), true).tap.unwrap() };
    stage.now = START + Span::from_secs(120);
    let plan = Plan { tap: Some(remembers), ..stage.plan(vec![Work::Due(key("order", "1"), stage.now)]) };
    let changes = stage.commit(&plan);
    assert!(changes.doubts.iter().any(|doubt| doubt.is_lost_commits() && doubt.to == stage.now));
    assert_eq!(stage.orders[&key("order", "1")].life.needs[0].reason, StuckReason::Unproven);
    assert!(changes.outbox.iter().all(|row| !row.content.asks()), "nothing is sent or undone");

    let mut loaded = stage.load(&plan);
    loaded.committed_at = Some(START);
    assert!(plan.decide(&loaded).doubts.is_empty(), "nothing is forgotten");
}

#[test]
fn a_deadline_counts_as_fired_only_where_it_did_something() {
    let mut stage = Stage::new([SAGA]);
    stage.batch(&[shop("Placed", "1")]);
    let early = stage.work(vec![Work::Due(key("order", "1"), stage.now)]);
    assert_eq!((early.tally.deadlines_fired, early.fire_delays.len(), early.orders.len()), (0, 0, 0));
    stage.now = START + Span::from_secs(61);
    let due = stage.work(vec![Work::Due(key("order", "1"), stage.now)]);
    assert_eq!((due.tally.deadlines_fired, due.fire_delays), (1, vec![Span::from_secs(1)]));
}
