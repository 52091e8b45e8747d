//! Which events a saga meets: what a batch adds to that.
//!
//! An event nobody names is counted by its name alone, before anything else of it is read; so is one that is named. Counts say
//! whether a definition and the bus speak of the same things, and decide nothing: a delivery that comes twice is counted twice.

use std::collections::BTreeMap;

/// Names a saga may meet without naming them, over all exchanges; what comes beyond is counted together. A service that puts ids
/// into the names of its events must not fill the database.
pub const STRANGERS_MAX: usize = 1_000;

/// Counts of events, by saga, exchange and name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Coverage {
    met: BTreeMap<String, BTreeMap<String, BTreeMap<String, Count>>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Count {
    is_named: bool,
    seen: u64,
}

/// One event as a saga met it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Met<'a> {
    pub saga: &'a str,
    /// Empty for events over HTTP.
    pub exchange: &'a str,
    pub event: &'a str,
    /// Some version of the saga names it.
    pub is_named: bool,
    pub seen: u64,
}

impl Coverage {
    /// Counts one. What was met before costs no memory.
    pub fn add(&mut self, saga: &str, exchange: &str, event: &str, is_named: bool) {
        let known = self.met.get_mut(saga).and_then(|it| it.get_mut(exchange)).and_then(|it| it.get_mut(event));
        if let Some(count) = known {
            count.is_named |= is_named;
            count.seen += 1;
            return;
        }
        let exchanges = self.met.entry(saga.to_owned()).or_default();
        let events = exchanges.entry(exchange.to_owned()).or_default();
        events.insert(event.to_owned(), Count { is_named, seen: 1 });
    }

    /// Whether nothing was met.
    pub fn is_empty(&self) -> bool {
        self.met.is_empty()
    }

    /// Everything, by saga, exchange and name.
    pub fn all(&self) -> impl Iterator<Item = Met<'_>> {
        self.met.iter().flat_map(|(saga, exchanges)| {
            exchanges.iter().flat_map(move |(exchange, events)| {
                events.iter().map(move |(event, count)| {
                    let Count { is_named, seen } = *count;
                    Met { saga, exchange, event, is_named, seen }
                })
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_met_is_counted_by_saga_exchange_and_name_in_that_order() {
        let mut coverage = Coverage::default();
        assert!(coverage.is_empty());
        for (exchange, event, is_named) in [("b", "x", false), ("a", "y", false), ("a", "y", true), ("a", "x", false)] {
            coverage.add("order", exchange, event, is_named);
        }
        coverage.add("another", "z", "z", false);
        let met = |saga, exchange, event, is_named, seen| Met { saga, exchange, event, is_named, seen };
        assert_eq!(
            coverage.all().collect::<Vec<_>>(),
            [
                met("another", "z", "z", false, 1),
                met("order", "a", "x", false, 1),
                met("order", "a", "y", true, 2),
                met("order", "b", "x", false, 1)
            ]
        );
    }
}
