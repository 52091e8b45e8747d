//! Messages that name their order: versions, sagas, and what nobody names.

use serde_json::json;

use super::stage::{Stage, event, key, message};
use escrow::bus::Delivery;

const V1: &str = "
saga: order
version: 1
watch: [{ exchange: shop }]
read: { event: /type, order_id: /order }
steps:
  placed: { done: Placed }
  paid: { after: placed, done: [Paid, PaidByCard], within: 1h }
";

/// The order's id is elsewhere, `PaidByCard` is no more, and there is another step.
const V2: &str = "
saga: order
version: 2
watch: [{ exchange: shop }]
read: { event: /type, order_id: [/data/order, /order] }
steps:
  placed: { done: Placed }
  paid: { after: placed, done: Paid, within: 1h }
  sent: { after: paid, done: Sent, within: 1h }
";

fn shop(name: &str, order: &str) -> Delivery {
    message("shop", Some(&format!("{name}-{order}")), &event(name, order))
}

/// An order of version 1, met while that was the newest, and version 2 since.
fn pinned() -> Stage {
    let mut stage = Stage::new([V1]);
    stage.batch(&[shop("Placed", "old")]);
    stage.catalog = Stage::new([V1, V2]).catalog;
    stage
}

#[test]
fn new_orders_open_on_the_newest_version_and_open_ones_stay_on_theirs() {
    let mut stage = pinned();
    stage.batch(&[shop("Placed", "new"), shop("Paid", "old"), shop("Paid", "new")]);
    assert_eq!((stage.order("order", "old").version, stage.order("order", "new").version), (1, 2));
    assert_eq!(stage.steps("order", "old"), "placed done, paid done");
    assert_eq!(stage.steps("order", "new"), "placed done, paid done, sent waiting");
}

#[test]
fn an_older_version_takes_what_names_one_of_its_own_open_orders() {
    let mut stage = pinned();
    // Version 2 would find order `other` in it, version 1 its own.
    let both = json!({"type": "Paid", "order": "old", "data": {"order": "other"}});
    let changes = stage.batch(&[message("shop", Some("1"), &both)]);
    assert_eq!(stage.steps("order", "old"), "placed done, paid done");
    assert_eq!((changes.tally.applied, stage.orders.len()), (1, 1), "one saga, one outcome");
    // Now that it is ended, the newest version reads.
    stage.batch(&[message("shop", Some("2"), &both)]);
    assert_eq!(stage.order("order", "other").version, 2);
}

#[test]
fn an_event_only_an_older_version_names_reaches_its_open_orders_alone() {
    let mut stage = pinned();
    stage.batch(&[shop("Placed", "new")]);
    let changes = stage.batch(&[shop("PaidByCard", "old"), shop("PaidByCard", "new")]);
    assert_eq!((changes.tally.applied, changes.tally.ignored), (1, 1));
    assert_eq!(stage.steps("order", "old"), "placed done, paid done");
    assert_eq!(stage.steps("order", "new"), "placed done, paid waiting, sent pending");
}

#[test]
fn what_the_newest_reads_for_an_order_pinned_to_a_version_that_does_not_name_it_is_ignored() {
    let mut stage = pinned();
    let changes = stage.batch(&[shop("Sent", "old")]);
    assert_eq!((changes.tally.ignored, changes.orders.len(), stage.quarantine.len()), (1, 0, 0));
    assert_eq!(stage.steps("order", "old"), "placed done, paid waiting");
}

#[test]
fn a_late_event_of_an_ended_order_is_read_by_the_orders_own_version() {
    let mut stage = pinned();
    stage.batch(&[shop("Paid", "old")]);
    let twice = message("shop", Some("again"), &event("Paid", "old"));
    stage.batch(&[twice]);
    assert_eq!(stage.journal.last().map(|(_, kind, _)| kind.word()), Some("repeated"));
    assert_eq!(stage.order("order", "old").version, 1);
}

#[test]
fn what_the_newest_version_cannot_read_is_no_trouble_if_an_older_one_takes_it() {
    let strict = V2.replace("[/data/order, /order]", "/data/order");
    let mut stage = Stage::new([V1]);
    stage.batch(&[shop("Placed", "old")]);
    stage.catalog = Stage::new([V1, strict.as_str()]).catalog;
    let changes = stage.batch(&[shop("Paid", "old")]);
    assert_eq!(stage.steps("order", "old"), "placed done, paid done");
    assert_eq!((changes.tally.applied, changes.tally.quarantined), (1, 0));
    // Nobody's order: now it is.
    let changes = stage.batch(&[shop("Paid", "nobody")]);
    assert_eq!((changes.tally.quarantined, stage.reasons()), (1, vec!["no_order_id"]));
    assert_eq!(stage.doubts.len(), 1, "it may be what an order of version 2 waits for");
}

#[test]
fn two_sagas_each_have_their_own_order_from_one_delivery() {
    let audit = "
saga: audit
version: 1
watch: [{ exchange: shop }]
read: { event: /type, order_id: /customer }
steps:
  bought: { done: Placed }
  thanked: { after: bought, done: Thanked, within: 1h }
";
    let mut stage = Stage::new([V1, audit]);
    let body = json!({"type": "Placed", "order": "1", "customer": "ann"});
    let changes = stage.batch(&[message("shop", Some("1"), &body)]);
    assert_eq!((changes.tally.applied, stage.orders.len()), (2, 2));
    assert_eq!(stage.steps("order", "1"), "placed done, paid waiting");
    assert_eq!(stage.steps("audit", "ann"), "bought done, thanked waiting");
    // One of them cannot read it: the other has it all the same, and the doubt is the one's own.
    stage.batch(&[message("shop", Some("2"), &event("Placed", "2"))]);
    assert_eq!(stage.steps("order", "2"), "placed done, paid waiting");
    assert_eq!((stage.quarantine[0].saga.as_deref(), stage.doubts[0].saga.as_deref()), (Some("audit"), Some("audit")));
}

#[test]
fn a_version_held_back_reads_the_orders_another_replica_opened_and_opens_none() {
    let mut stage = Stage::new([V1, V2]);
    stage.batch(&[shop("Placed", "theirs")]);
    let mut held = (*stage.catalog).clone();
    held.hold_at("order", 1);
    stage.catalog = held.into();
    stage.batch(&[shop("Paid", "theirs"), shop("Sent", "theirs"), shop("Placed", "ours")]);
    assert_eq!(stage.steps("order", "theirs"), "placed done, paid done, sent done");
    assert_eq!(stage.order("order", "ours").version, 1);
}

#[test]
fn an_order_on_a_version_that_is_not_known_here_is_never_taken_for_ignored() {
    let mut stage = Stage::new([V1, V2]);
    stage.batch(&[shop("Placed", "theirs")]);
    stage.catalog = Stage::new([V1]).catalog;
    let work = vec![escrow::saga::decide::Work::Delivered(stage.read(&shop("Paid", "theirs")))];
    let mut plan = stage.of_tap(work, true);
    plan.needs_versions = true;
    let changes = stage.commit(&plan);
    assert_eq!(changes.unknown_version, Some(("order".to_owned(), 2)));
    assert!(changes.orders.is_empty() && changes.tap.is_none(), "nothing is decided");
    // The definitions were loaded, and it is not among them.
    plan.needs_versions = false;
    stage.commit(&plan);
    assert_eq!(stage.reasons(), ["corrupt_order"]);
    assert_eq!(stage.orders[&key("order", "theirs")].sequence, 1);
}
