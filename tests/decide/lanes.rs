//! A batch in two lanes is the same batch, and what may not be parted is not.

use escrow::bus::Delivery;
use escrow::saga::decide::{FromTap, Plan, Work};
use serde_json::json;

use super::stage::{Stage, TAP, key, message};

const ORDERS: usize = 200;

const BY_ID: &str = "
saga: order
version: 1
watch: [{ exchange: shop }]
read: { event: /type, order_id: /order }
steps:
  placed: { done: Placed }
  paid: { after: placed, done: Paid, within: 1m }
";

/// Reads its orders elsewhere.
const OTHER_ID: &str = "
saga: parcel
version: 1
watch: [{ exchange: shop }]
read: { event: /type, order_id: /parcel }
steps:
  placed: { done: Placed }
";

/// Two messages for each order.
fn messages(with_id: bool) -> Vec<Delivery> {
    let one = |name: &str, order: usize| {
        let id = format!("{name}-{order}");
        message(
            "shop",
            with_id.then_some(id.as_str()),
            &json!({"type": name, "order": format!("o-{order}"), "parcel": "p"}),
        )
    };
    (0..ORDERS).map(|order| one("Placed", order)).chain((0..ORDERS).map(|order| one("Paid", order))).collect()
}

fn plan(stage: &mut Stage, messages: &[Delivery]) -> Plan {
    let work = messages.iter().map(|delivery| Work::Delivered(stage.read(delivery))).collect();
    let watermark = Some(stage.now);
    let tap = FromTap { name: TAP.to_owned(), watermark, is_fresh: true, ..FromTap::default() };
    Plan { tap: Some(tap), token: Some([9; 32]), ..stage.plan(work) }
}

#[test]
fn a_batch_in_two_lanes_is_the_batch() {
    let mut stage = Stage::new([BY_ID]);
    let plan = plan(&mut stage, &messages(true));
    let (mut whole, mut apart) = (stage.clone(), stage);
    whole.commit(&plan);
    let lanes = plan.into_lanes().expect("every message has an id, and names one order");
    assert_eq!(
        lanes.iter().map(|lane| lane.tap.as_ref().unwrap().watermark.is_some()).collect::<Vec<_>>(),
        [false, true]
    );
    let smaller = lanes.iter().map(|lane| lane.work.len()).min();
    assert!(smaller.is_some_and(|it| it > ORDERS / 2), "both lanes have their share: {smaller:?}");
    for lane in &lanes {
        apart.commit(lane);
    }
    whole.journal.sort_by(|one, other| one.0.cmp(&other.0));
    apart.journal.sort_by(|one, other| one.0.cmp(&other.0));
    assert_eq!(whole.orders, apart.orders);
    assert_eq!(whole.journal.len(), 2 * ORDERS);
    assert_eq!(whole.journal, apart.journal);
    assert_eq!(whole.outbox.len(), apart.outbox.len());
    assert_eq!(whole.last_batch, apart.last_batch);
}

#[test]
fn the_messages_of_an_order_go_the_same_way() {
    let mut stage = Stage::new([BY_ID]);
    let lanes = plan(&mut stage, &messages(true)).into_lanes().unwrap();
    let [first, last] = lanes.map(|lane| lane.lookup().orders);
    assert_eq!(first.len() + last.len(), ORDERS);
    assert!(first.is_disjoint(&last));
}

#[test]
fn a_lane_whose_answer_was_lost_is_recognised() {
    let mut stage = Stage::new([BY_ID]);
    stage.corrupt.insert(key("order", "o-7"));
    let plan = plan(&mut stage, &messages(true));
    for lane in plan.into_lanes().unwrap() {
        stage.commit(&lane);
        stage.commit(&lane);
    }
    assert_eq!(stage.quarantine.len(), 2, "both messages of the order whose row cannot be read, each once");
}

#[test]
fn what_may_not_be_parted_stays_together() {
    let mut stage = Stage::new([BY_ID]);
    assert!(
        plan(&mut stage, &messages(false)).into_lanes().is_err(),
        "without ids the batch is known by its last batch"
    );
    assert!(plan(&mut stage, &messages(true)[..100]).into_lanes().is_err(), "too few");
    let of_no_tap = Plan { tap: None, ..plan(&mut stage, &messages(true)) };
    assert!(of_no_tap.into_lanes().is_err(), "from no tap");
    let mut stage = Stage::new([BY_ID, OTHER_ID]);
    let two_orders = plan(&mut stage, &messages(true));
    let before = two_orders.work.len();
    let kept = two_orders.into_lanes().expect_err("a message that is for two orders");
    assert_eq!(kept.work.len(), before);
}
