//! Rule 5: messages without an order id, placed by the order of arrival.

use escrow::bus::Delivery;
use escrow::saga::decide::{OrderRef, Work};
use escrow::saga::input::{Action, Command};
use escrow::saga::journal::Kind;
use escrow::saga::time::Span;
use serde_json::json;

use super::stage::{START, Stage, again, event, key, message};

const SAGA: &str = "
saga: order
version: 1
watch: [{ exchange: shop }]
read: { event: /type, order_id: arrival }
steps:
  placed: { done: Placed }
  paid: { after: placed, done: Paid, failed: Declined, on_failure: alert, within: 1m }
";

/// Every message is the same to the last byte: nothing tells them apart.
fn bare(name: &str) -> Delivery {
    message("shop", None, &json!({"type": name}))
}

fn paid(stage: &Stage) -> Vec<String> {
    let mut keys: Vec<_> = stage.orders.keys().cloned().collect();
    keys.sort_by_key(|key| (key.order_id.len(), key.order_id.clone()));
    keys.iter().map(|key| stage.orders[key].steps[1].status.word().to_owned()).collect()
}

#[test]
fn the_opening_event_always_opens_the_next_number() {
    let mut stage = Stage::new([SAGA]);
    stage.batch(&[bare("Placed"), bare("Placed")]);
    stage.batch(&[bare("Placed")]);
    let ids: Vec<_> = stage.orders.keys().map(|key| key.order_id.as_str()).collect();
    assert_eq!(ids, ["arrival-1", "arrival-2", "arrival-3"]);
    assert_eq!(stage.counters["order"], 3);
}

#[test]
fn answers_go_to_the_oldest_waiting_order_and_say_so() {
    let mut stage = Stage::new([SAGA]);
    // More than nine, so that names and numbers sort differently.
    stage.batch(&(0..11).map(|_| bare("Placed")).collect::<Vec<_>>());
    stage.batch(&(0..10).map(|_| bare("Paid")).collect::<Vec<_>>());
    let mut expected = vec!["done"; 10];
    expected.push("waiting");
    assert_eq!(paid(&stage), expected);
    let answers: Vec<_> = stage.journal.iter().filter(|(_, _, body)| body.name.as_deref() == Some("Paid")).collect();
    assert!(answers.iter().all(|(_, kind, body)| *kind == Kind::Event && body.inferred));
    assert_eq!(answers.len(), 10);
}

#[test]
fn an_order_leaves_the_line_when_its_step_times_out_and_a_person_puts_it_back() {
    let mut stage = Stage::new([SAGA]);
    stage.batch(&[bare("Placed")]);
    stage.now = START + Span::from_secs(50);
    stage.batch(&[bare("Placed")]);
    let first = key("order", "arrival-1");
    stage.now = START + Span::from_secs(61);
    stage.work(vec![Work::Due(first.clone(), stage.now)]);
    assert_eq!(paid(&stage), ["timed_out", "waiting"]);
    let mut line = stage.clone();
    line.batch(&[bare("Paid")]);
    assert_eq!(paid(&line), ["timed_out", "done"], "the first is not waiting any more");
    let extend = Command {
        action: Action::Extend(Span::from_secs(60)),
        step: None,
        actor: "ann".to_owned(),
        reason: "slow today".to_owned(),
    };
    let changes = stage.work(vec![Work::Command(first, Box::new(extend))]);
    assert!(matches!(changes.answers.as_slice(), [Ok(_)]), "{:?}", changes.answers);
    stage.batch(&[bare("Paid")]);
    assert_eq!(paid(&stage), ["done", "waiting"], "back in its old place");
}

#[test]
fn an_answer_nobody_waits_for_is_unplaced_and_its_replay_names_the_order() {
    let mut stage = Stage::new([SAGA]);
    stage.batch(&[bare("Paid")]);
    assert_eq!((stage.reasons(), stage.orders.len()), (vec!["unplaced"], 0));
    assert_eq!(stage.quarantine[0].event.as_deref(), Some("Paid"));
    stage.batch(&[bare("Placed"), bare("Placed")]);
    let mut delivered = stage.read(&bare("Paid"));
    delivered.arrivals[0].candidates[0].place = OrderRef::Id("arrival-2".to_owned());
    stage.work(vec![Work::Delivered(delivered)]);
    assert_eq!(paid(&stage), ["waiting", "done"]);
}

#[test]
fn triggers_and_cancellations_go_down_the_line_too() {
    let saga = format!("{SAGA}  extra: {{ when: Asked, after: paid, done: Given }}\ncancelled_by: Cancelled\n");
    let mut stage = Stage::new([saga.as_str()]);
    stage.batch(&[bare("Placed"), bare("Placed")]);
    stage.batch(&[bare("Asked"), bare("Asked"), bare("Cancelled"), bare("Cancelled")]);
    for order in stage.orders.values() {
        assert!(order.steps[2].trigger.is_some() && order.life.cancelled.is_some(), "{order:#?}");
    }
    let changes = stage.batch(&[bare("Asked"), bare("Cancelled")]);
    assert_eq!((changes.tally.applied, stage.reasons()), (0, vec!["unplaced", "unplaced"]));
}

#[test]
fn a_redelivered_message_is_placed_once() {
    let mut stage = Stage::new([SAGA]);
    let batch = [bare("Placed"), bare("Placed"), bare("Paid")];
    stage.batch(&batch);
    let changes = stage.batch(&batch.each_ref().map(again));
    assert_eq!((changes.tally.duplicate, changes.tally.applied), (3, 0));
    assert_eq!(paid(&stage), ["done", "waiting"]);
}

#[test]
fn a_message_with_an_id_is_placed_once_even_if_the_broker_says_nothing() {
    let mut stage = Stage::new([SAGA]);
    let placed = message("shop", Some("m-1"), &event("Placed", ""));
    stage.batch(&[placed.clone(), placed.clone()]);
    stage.batch(&[placed]);
    assert_eq!(stage.orders.len(), 1);
}

#[test]
fn a_message_that_names_an_order_of_an_older_version_is_not_placed_by_arrival() {
    let by_id = SAGA.replace("order_id: arrival", "order_id: /order");
    let mut stage = Stage::new([by_id.as_str()]);
    stage
        .batch(&[message("shop", Some("1"), &event("Placed", "a")), message("shop", Some("2"), &event("Placed", "b"))]);
    stage.catalog = Stage::new([by_id.as_str(), SAGA.replace("version: 1", "version: 2").as_str()]).catalog;
    stage.batch(&[message("shop", Some("3"), &event("Paid", "b"))]);
    assert_eq!(stage.steps("order", "a"), "placed done, paid waiting");
    assert_eq!(stage.steps("order", "b"), "placed done, paid done");
}

#[test]
fn orders_of_an_older_version_by_arrival_still_get_what_the_newest_does_not_name() {
    let mut stage = Stage::new([SAGA]);
    stage.batch(&[bare("Placed")]);
    let renamed = SAGA.replace("version: 1", "version: 2").replace("done: Paid", "done: Settled");
    stage.catalog = Stage::new([SAGA, renamed.as_str()]).catalog;
    let changes = stage.batch(&[bare("Paid"), bare("Paid")]);
    assert_eq!(paid(&stage), ["done"]);
    assert_eq!(changes.tally.ignored, 1, "the newest does not name it, and no one waits");
}

#[test]
fn a_batch_reads_as_far_down_the_line_as_it_has_answers() {
    let mut stage = Stage::new([SAGA]);
    stage.batch(&(0..500).map(|_| bare("Placed")).collect::<Vec<_>>());
    stage.batch(&(0..450).map(|_| bare("Paid")).collect::<Vec<_>>());
    let paid = paid(&stage);
    assert_eq!(paid.iter().filter(|status| *status == "done").count(), 450);
    assert!(paid[..450].iter().all(|status| status == "done"), "the oldest first");
    assert_eq!(stage.quarantine.len(), 0);
}
