//! Which events a saga meets: counted once for each saga that watches, whatever else a delivery is.

use std::sync::Arc;

use escrow::bus::Delivery;
use escrow::saga::batch::Outcome;
use escrow::saga::coverage::Coverage;
use escrow::saga::decide::{Plan, Work};
use escrow::worker::reading::Readings;
use escrow::worker::sight::Sight;
use serde_json::{Value, json};

use super::stage::{Stage, event, message};

const V1: &str = "
saga: order
version: 1
watch: [{ exchange: shop }]
read: { event: /type, order_id: /order }
steps:
  placed: { done: Placed }
  paid: { after: placed, done: [Paid, PaidByCard], within: 1h }
";

const V2: &str = "
saga: order
version: 2
watch: [{ exchange: shop }]
read: { event: /type, order_id: /order }
steps:
  placed: { done: { event: Placed, where: 'body.order != \"9\"' } }
  paid: { after: placed, done: Paid, within: 1h }
";

const OTHER: &str = "
saga: other
version: 1
watch: [{ exchange: shop }]
read: { event: /type, order_id: /order }
steps:
  begun: { done: Begun }
";

fn shop(body: &Value) -> Delivery {
    message("shop", None, body)
}

fn met(stage: &Stage, deliveries: &[Delivery]) -> Coverage {
    let mut readings = Readings::new(1 << 20);
    for delivery in deliveries {
        readings.read(&stage.catalog, &Sight::default(), delivery, [7; 16], None);
    }
    let coverage = readings.take_coverage();
    assert!(readings.take_coverage().is_empty(), "taken once");
    coverage
}

fn shown(coverage: &Coverage) -> Vec<String> {
    coverage.all().map(|it| format!("{} {} {} {}", it.saga, it.event, it.seen, it.is_named)).collect()
}

#[test]
fn every_delivery_with_a_name_counts_once_for_each_saga_that_watches() {
    let stage = Stage::new([V1, V2, OTHER]);
    let deliveries = [
        shop(&event("Placed", "1")),
        // Its condition does not hold, it has no order id, only an older version names it, nobody does, it has no name.
        shop(&event("Placed", "9")),
        shop(&json!({"type": "Placed"})),
        shop(&event("PaidByCard", "1")),
        shop(&event("Noise", "1")),
        shop(&json!({"kind": "Noise"})),
        shop(&json!({"type": ""})),
        message("elsewhere", None, &event("Placed", "1")),
    ];
    assert_eq!(
        shown(&met(&stage, &deliveries)),
        [
            "order Noise 1 false",
            "order PaidByCard 1 true",
            "order Placed 3 true",
            "other Noise 1 false",
            "other PaidByCard 1 false",
            "other Placed 3 false",
        ]
    );
}

#[test]
fn a_delivery_that_is_nothing_to_a_saga_is_one_of_its_outcomes() {
    let mut stage = Stage::new([V1, OTHER]);
    let deliveries = [
        shop(&event("Placed", "1")),
        shop(&event("Noise", "1")),
        shop(&event("Begun", "1")),
        message("elsewhere", None, &event("Noise", "1")),
    ];
    let coverage = Arc::new(met(&stage, &deliveries));
    let work = [&deliveries[0], &deliveries[2]].map(|it| Work::Delivered(stage.read(it)));
    let plan = Plan { coverage, ..stage.of_tap(work.to_vec(), true) };
    let tally = stage.commit(&plan).tally;
    let of = |saga: &str, outcome| tally.by_saga.get(&(saga.to_owned(), outcome)).copied().unwrap_or_default();
    assert_eq!((of("order", Outcome::Applied), of("order", Outcome::Ignored)), (1, 2));
    assert_eq!((of("other", Outcome::Applied), of("other", Outcome::Ignored), tally.ignored), (1, 2, 4));
}

#[test]
fn what_was_met_is_saved_with_its_batch_and_not_with_one_that_was_saved_before() {
    let mut stage = Stage::new([V1]);
    let delivery = shop(&event("Placed", "1"));
    let coverage = Arc::new(met(&stage, std::slice::from_ref(&delivery)));
    let work = vec![Work::Delivered(stage.read(&delivery))];
    let plan = Plan { coverage: Arc::clone(&coverage), token: Some([7; 32]), ..stage.of_tap(work, true) };
    assert_eq!(stage.commit(&plan).coverage, coverage);
    // The answer to its commit was lost: it comes again with its token.
    let again = stage.commit(&plan);
    assert!(again.coverage.is_empty() && again.orders.is_empty() && again.tally.ignored == 0);
    let nothing = Plan { coverage: Arc::clone(&coverage), ..stage.of_tap(Vec::new(), true) };
    assert_eq!(stage.commit(&nothing).coverage, coverage, "also where nothing else is to be done");
}
