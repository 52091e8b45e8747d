//! Which events a saga meets: what a batch adds to that.
//!
//! An event nobody names is counted by its name alone, before anything else of it is read; so is one that is named. Counts say
//! whether a definition and the bus speak of the same things, and decide nothing: a delivery that comes twice is counted twice.

use std::collections::BTreeMap;

/// Names a saga may meet without naming them, over all exchanges; what comes beyond is counted together. A service that puts ids
/// into the names of its events must not fill the database.
pub const STRANGERS_MAX: usize = 1_000;

/// Below this similarity a suggestion confuses more than it helps.
const SIMILAR: f64 = 0.8;

/// Suggestions for one name.
const SIMILAR_MAX: usize = 3;

/// Letters that may be wrong, too many or missing, in a name of at least so many: with two, `OrderReplaced` were `OrderPlaced`.
const SLIPS_MAX: usize = 1;
const SLIPS_IN: usize = 8;

/// Counts of events, by saga, exchange and name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Coverage {
    met: BTreeMap<String, BTreeMap<String, BTreeMap<String, Count>>>,
    ignored: BTreeMap<String, u64>,
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

    /// Counts a delivery that is nothing to a saga.
    pub fn ignore(&mut self, saga: &str) {
        match self.ignored.get_mut(saga) {
            Some(count) => *count += 1,
            None => drop(self.ignored.insert(saga.to_owned(), 1)),
        }
    }

    /// How many deliveries were nothing to each saga.
    pub fn ignored(&self) -> impl Iterator<Item = (&str, u64)> {
        self.ignored.iter().map(|(saga, count)| (saga.as_str(), *count))
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

/// The names most like `event`, best first. Upper and lower case, dots, dashes and underscores are the usual slips.
pub fn similar(event: &str, strangers: &[&str]) -> Vec<String> {
    let folded = fold(event);
    let mut near: Vec<(f64, &str)> = strangers
        .iter()
        .map(|&stranger| (strsim::jaro_winkler(&folded, &fold(stranger)), stranger))
        .filter(|(similarity, _)| *similarity >= SIMILAR)
        .collect();
    near.sort_by(|left, right| right.0.total_cmp(&left.0).then_with(|| left.1.cmp(right.1)));
    near.dedup_by_key(|it| it.1);
    near.into_iter().take(SIMILAR_MAX).map(|(_, name)| name.to_owned()).collect()
}

/// Whether two names are surely meant to be one: apart from case and separators a slip at most, in a name that is not short. Stricter
/// than [`similar`]: `OrderPlaced` and `OrderCancelled` are alike, and two things.
pub fn is_misspelling(event: &str, stranger: &str) -> bool {
    let (event, stranger) = (fold(event), fold(stranger));
    event == stranger
        || (event.chars().count() >= SLIPS_IN && strsim::damerau_levenshtein(&event, &stranger) <= SLIPS_MAX)
}

fn fold(word: &str) -> String {
    word.chars().filter(|it| it.is_alphanumeric()).flat_map(char::to_lowercase).collect()
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

    #[test]
    fn coverage_is_empty_until_something_was_met() {
        let mut coverage = Coverage::default();
        coverage.add("order", "shop", "x", false);
        assert!(!coverage.is_empty());
    }

    #[test]
    fn names_that_are_alike_are_told_best_first_and_a_few() {
        let strangers = ["order.placed", "OrderPlacd", "ORDER_PLACED", "Shipment", "OrderPlaces", "OrderPlacement"];
        assert_eq!(similar("OrderPlaced", &strangers), ["ORDER_PLACED", "order.placed", "OrderPlacd"]);
        assert_eq!(similar("OrderPlaced", &["Shipment", "x"]), Vec::<String>::new());
        assert_eq!(similar("OrderPlaced", &["orderplaced", "orderplaced"]), ["orderplaced"], "each once");
    }

    #[test]
    fn a_slip_in_a_long_name_is_a_misspelling_and_another_word_is_none() {
        for (event, stranger, is) in [
            ("OrderPlaced", "order-placed", true),
            ("OrderPlaced", "OrderPlacd", true),
            ("OrderPlaced", "OrderCancelled", false),
            ("OrderPlaced", "Shipment", false),
            ("Paid", "paid", true),
            // Of a short name one letter may be all there is.
            ("Paid", "Said", false),
        ] {
            assert_eq!(is_misspelling(event, stranger), is, "{event} {stranger}");
        }
    }
}
