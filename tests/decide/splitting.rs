//! How a batch is split changes nothing: neither when the bus gives it in two, nor when a refused one is applied in halves.

use escrow::bus::Delivery;
use escrow::saga::decide::{FromTap, Plan, Work};
use escrow::saga::input::{Action, Command};
use escrow::saga::time::Span;
use proptest::prelude::*;
use serde_json::json;

use super::stage::{Stage, TAP, again, key, message};

/// Reads what it stored, counts, waits for a trigger, fails and is cancelled.
const NAMED: &str = r#"
saga: named
version: 1
watch: [{ exchange: shop }]
read: { event: /type, order_id: /order }
attributes: { amount: /amount }
steps:
  placed: { done: Placed }
  paid: { after: placed, done: Paid, failed: Declined, within: "{{ duration(steps.placed.event.wait) }}", on_timeout: compensate,
          compensation: { publish: Refund, done: Refunded } }
  parcels: { after: paid, done: Parcel, count: "{{ int(steps.placed.event.parcels) }}", by: /parcel, within: 1m }
  refilled: { when: Low, done: Refilled, within: 1m }
cancelled_by: Cancelled
"#;

const BY_ARRIVAL: &str = "
saga: queued
version: 1
watch: [{ exchange: shop }]
read: { event: /type, order_id: arrival }
steps:
  placed: { done: Placed }
  paid: { after: placed, done: Paid, failed: Declined, within: 1m }
";

#[derive(Clone, Debug)]
enum Given {
    Message { delivery: Delivery, redelivered: bool },
    Due { order: String },
    Command { order: String, action: Action },
}

fn given() -> impl Strategy<Value = Given> {
    let name = prop::sample::select(vec![
        "Placed",
        "Placed",
        "Paid",
        "Paid",
        "Declined",
        "Parcel",
        "Low",
        "Refilled",
        "Refunded",
        "Cancelled",
    ]);
    let order = || prop::sample::select(vec!["1", "2", "3"]);
    let body = (name, order(), 0..3_u8, prop::option::weighted(0.6, 0..2_u8), any::<bool>(), 0..20_u8);
    let message = body.prop_map(|(name, order, parcel, id, redelivered, odd)| {
        let mut body =
            json!({"type": name, "order": order, "parcel": parcel, "amount": parcel, "wait": "1m", "parcels": 2});
        if odd == 0 {
            body["order"] = json!(1.5);
        } else if odd == 1 {
            body["wait"] = json!("soon");
        }
        let delivery = message("shop", id.map(|id| id.to_string()).as_deref(), &body);
        Given::Message { delivery, redelivered }
    });
    let action = prop::sample::select(vec![Action::Compensate, Action::Skip, Action::Note, Action::Close]);
    prop_oneof![
        8 => message,
        2 => order().prop_map(|order| Given::Due { order: order.to_owned() }),
        1 => (order(), action).prop_map(|(order, action)| Given::Command { order: order.to_owned(), action }),
    ]
}

fn work(stage: &mut Stage, given: &[Given], with_redelivered: bool) -> Vec<Work> {
    let one = |given: &Given| match given {
        Given::Message { delivery, redelivered } if *redelivered && with_redelivered => {
            Work::Delivered(stage.read(&again(delivery)))
        }
        Given::Message { delivery, .. } => Work::Delivered(stage.read(delivery)),
        Given::Due { order } => Work::Due(key("named", order), stage.now + Span::from_secs(3600)),
        Given::Command { order, action } => {
            let (actor, reason) = ("ann".to_owned(), "x".to_owned());
            Work::Command(key("named", order), Box::new(Command { action: *action, step: None, actor, reason }))
        }
    };
    given.iter().map(one).collect()
}

fn tap(is_fresh: bool) -> FromTap {
    FromTap { name: TAP.to_owned(), is_fresh, ..FromTap::default() }
}

/// Both are the same; if not, says where they differ and no more.
#[track_caller]
fn same<T: PartialEq + std::fmt::Debug>(what: &str, whole: &T, split: &T) {
    if whole == split {
        return;
    }
    let (whole, split) = (format!("{whole:#?}"), format!("{split:#?}"));
    let differing = whole.lines().zip(split.lines()).enumerate().filter(|(_, (one, other))| one != other);
    let lines = differing.map(|(line, (one, other))| format!("{line}: whole {}  split {}", one.trim(), other.trim()));
    panic!("{what} differs:\n{}", lines.take(12).collect::<Vec<_>>().join("\n"));
}

#[track_caller]
fn hold_same(whole: &Stage, split: &Stage) {
    // Entries of different orders of one batch have no order among them.
    let trail = |stage: &Stage| {
        let mut trail = stage.journal.clone();
        trail.sort_by(|one, other| one.0.cmp(&other.0));
        trail
    };
    same("the trail", &trail(whole), &trail(split));
    same("the orders", &whole.orders, &split.orders);
    same("the outbox", &whole.outbox, &split.outbox);
    same("the quarantine", &whole.quarantine, &split.quarantine);
    same("the doubts", &whole.doubts, &split.doubts);
    same("the counters", &whole.counters, &split.counters);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn two_batches_are_one_batch(before in prop::collection::vec(given(), 0..6), batch in prop::collection::vec(given(), 1..16), at in 0..16_usize) {
        let mut stage = Stage::new([NAMED, BY_ARRIVAL]);
        let earlier = work(&mut stage, &before, false);
        stage.work(earlier);
        let mut first = work(&mut stage, &batch, false);
        let (mut whole, mut split) = (stage.clone(), stage.clone());
        let plan = Plan { tap: Some(tap(true)), ..whole.plan(first.clone()) };
        whole.commit(&plan);
        let second = first.split_off(at.min(first.len()));
        for part in [first, second] {
            let plan = Plan { tap: Some(tap(true)), ..split.plan(part) };
            split.commit(&plan);
        }
        hold_same(&whole, &split);
    }

    #[test]
    fn the_parts_of_a_refused_batch_are_the_batch(before in prop::collection::vec(given(), 0..6), batch in prop::collection::vec(given(), 1..16), at in 0..16_usize) {
        let mut stage = Stage::new([NAMED, BY_ARRIVAL]);
        let earlier = work(&mut stage, &before, false);
        let plan = Plan { tap: Some(tap(true)), ..stage.plan(earlier) };
        stage.commit(&plan);
        let mut first = work(&mut stage, &batch, true);
        let (mut whole, mut split) = (stage.clone(), stage.clone());
        let plan = Plan { tap: Some(tap(true)), ..whole.plan(first.clone()) };
        whole.commit(&plan);
        let second = first.split_off(at.min(first.len()));
        let marks = first.iter().filter_map(|work| match work {
            Work::Delivered(delivered) => delivered.content_hash,
            _ => None,
        });
        let last = FromTap { before: marks.collect(), ..tap(true) };
        for (part, tap) in [(first, tap(false)), (second, last)] {
            let plan = Plan { tap: Some(tap), ..split.plan(part) };
            split.commit(&plan);
        }
        hold_same(&whole, &split);
        same("what the batch left behind", &whole.last_batch, &split.last_batch);
    }
}
