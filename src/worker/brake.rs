//! Rule 14: the brake counts orders turned back by timeout, per saga, and latches until a person resets it.
//!
//! Kept by this process alone: with several replicas each holds after its own share.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::saga::catalog::Catalog;
use crate::saga::time::Moment;

/// The brakes of all sagas.
#[derive(Debug, Default)]
pub struct Brakes {
    turned: BTreeMap<String, VecDeque<(Moment, u32)>>,
    latched: BTreeSet<String>,
}

impl Brakes {
    /// How many more orders of each saga with a brake may turn back by timeout; 0 is a brake that holds.
    pub fn left(&mut self, catalog: &Catalog, now: Moment) -> BTreeMap<String, u32> {
        let limits = catalog.newest_all().filter_map(|saga| Some((saga.name.clone(), saga.brake?)));
        limits
            .map(|(saga, limit)| {
                let turned = self.turned.entry(saga.clone()).or_default();
                while turned.front().is_some_and(|(at, _)| *at + limit.per < now) {
                    turned.pop_front();
                }
                let counted = turned.iter().fold(0_u32, |sum, (_, count)| sum.saturating_add(*count));
                let left = if self.latched.contains(&saga) { 0 } else { limit.orders.saturating_sub(counted) };
                (saga, left)
            })
            .collect()
    }

    /// Counts orders that turned back.
    pub fn count(&mut self, turned: &BTreeMap<String, u32>, now: Moment) {
        for (saga, count) in turned {
            self.turned.entry(saga.clone()).or_default().push_back((now, *count));
        }
    }

    /// An order was held: the brake of its saga holds all others too, from now on.
    pub fn latch(&mut self, saga: &str) {
        self.latched.insert(saga.to_owned());
    }

    /// Whether the brake of a saga holds.
    pub fn is_latched(&self, saga: &str) -> bool {
        self.latched.contains(saga)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::saga::parse::parse;
    use crate::saga::time::Span;

    fn catalog() -> Catalog {
        let text = "saga: a\nversion: 1\nread: { event: /e, order_id: /o }\nwatch: [{ exchange: x }]\n\
            brake: { orders: 3, per: 1m }\nsteps: { s: { done: D } }\n";
        [Arc::new(parse("a.yaml", text).unwrap().saga)].into_iter().collect()
    }

    #[test]
    fn the_window_moves_on_until_an_order_was_held() {
        let (catalog, mut brakes) = (catalog(), Brakes::default());
        let at = |seconds| Moment(0) + Span::from_secs(seconds);
        let turned = |count| BTreeMap::from([("a".to_owned(), count)]);
        brakes.count(&turned(2), at(0));
        brakes.count(&turned(1), at(30));
        assert_eq!(brakes.left(&catalog, at(40))["a"], 0, "as many as may be, and none too many");
        assert!(!brakes.is_latched("a"));
        assert_eq!(brakes.left(&catalog, at(61))["a"], 2, "the first two are a minute ago");
        brakes.latch("a");
        assert_eq!((brakes.left(&catalog, at(900))["a"], brakes.is_latched("a")), (0, true));
    }
}
