//! The order service: people order things, and it says so. It never hears how it went on.

use serde_json::{Map, json};

use crate::demo::event::Event;
use crate::demo::faults::Faults;

/// Where it publishes.
pub const EXCHANGE: &str = "order_exchange";

const CUSTOMERS: [&str; 12] = [
    "ada",
    "barbara",
    "dennis",
    "donald",
    "edsger",
    "frances",
    "grace",
    "hedy",
    "katherine",
    "leslie",
    "margaret",
    "radia",
];

/// Order ids of one run.
#[derive(Clone, Debug)]
pub struct OrderIds {
    /// Tells runs on one broker apart; empty where a run has everything to itself.
    run: String,
}

impl OrderIds {
    /// Ids with `run` in them, unless that is empty.
    pub fn new(run: &str) -> Self {
        Self { run: run.to_owned() }
    }

    /// The id of the order with this number, from 1.
    pub fn id(&self, number: u64) -> String {
        if self.run.is_empty() { format!("order-{number:05}") } else { format!("order-{}-{number:05}", self.run) }
    }
}

/// Who orders what: the same for the same seed.
pub fn placed(ids: &OrderIds, faults: &Faults, number: u64) -> Event {
    let mut rng = faults.rng(&format!("order {number}"));
    let mut data = Map::new();
    data.insert("customer".into(), json!(rng.pick(&CUSTOMERS)));
    let cents = 500 + rng.below(30_000);
    data.insert("amount".into(), json!(f64::from(u32::try_from(cents).unwrap_or(0)) / 100.0));
    Event::new("OrderPlaced", &ids.id(number), data)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::faults::Timing;

    #[test]
    fn the_same_seed_places_the_same_orders() {
        let faults = |seed| Faults::new(seed, Timing::of(None));
        let (ids, many) = (OrderIds::new(""), 1..50);
        let orders = |seed| many.clone().map(|n| placed(&ids, &faults(seed), n)).collect::<Vec<_>>();
        assert_eq!(orders(3), orders(3));
        assert_ne!(orders(3), orders(4));
        assert_eq!(OrderIds::new("x7").id(3), "order-x7-00003");
    }
}
