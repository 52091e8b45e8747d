//! Rule 14: the brake counts orders turned back by timeout, per saga, and latches until a person resets it.
//!
//! Kept by this process alone: with several replicas each holds after its own share.

use std::collections::{BTreeMap, VecDeque};

use crate::saga::catalog::Catalog;
use crate::saga::time::Moment;

/// The brakes of all sagas.
#[derive(Debug, Default)]
pub struct Brakes {
    turned: BTreeMap<String, VecDeque<(Moment, u32)>>,
    latched: std::collections::BTreeSet<String>,
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

    /// Counts orders that turned back, and latches where that uses the limit up.
    pub fn count(&mut self, catalog: &Catalog, turned: &BTreeMap<String, u32>, now: Moment) {
        for (saga, count) in turned {
            self.turned.entry(saga.clone()).or_default().push_back((now, *count));
        }
        for (saga, left) in self.left(catalog, now) {
            if left == 0 {
                self.latched.insert(saga);
            }
        }
    }

    /// Whether the brake of a saga holds.
    pub fn is_latched(&self, saga: &str) -> bool {
        self.latched.contains(saga)
    }
}
