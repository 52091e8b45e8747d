//! Which messages of the shared tap belong to a saga: those of the places it watches, with the keys it names.
//!
//! The tap is bound for all sagas together, so a message may be there because of another saga's binding. Whether it is
//! this saga's is decided here, as the broker would.

use std::sync::LazyLock;

use crate::saga::definition::{OrderIdFrom, Place, Preset, Read, Saga};

/// How events over HTTP are read where the saga does not say: a CloudEvent whose subject is the order id.
static OVER_HTTP: LazyLock<Read> = LazyLock::new(|| Read {
    event: Vec::new(),
    order_id: OrderIdFrom::Message(Vec::new()),
    id: Vec::new(),
    preset: Some(Preset::CloudEvents),
});

/// The ways `saga` reads a message from there, in definition order; none if it does not watch the place.
pub(super) fn reads<'s>(saga: &'s Saga, exchange: &str, routing_key: &str, is_http: bool) -> Vec<&'s Read> {
    let watched = saga.watch.iter().filter(|watch| match &watch.place {
        Place::Http => is_http,
        Place::Exchange { name, declare, keys } => {
            let kind = declare.as_ref().map(|declare| declare.kind.as_str());
            !is_http
                && name == exchange
                && keys.as_ref().is_none_or(|keys| keys.iter().any(|key| takes(kind, key, routing_key)))
        }
    });
    let mut reads: Vec<&Read> = watched.map(|watch| &watch.read).collect();
    if is_http && reads.is_empty() {
        reads.push(&OVER_HTTP);
    }
    reads
}

/// Whether an exchange of this type routes `routing_key` by a binding with `key`. A type that is not known is taken for a
/// topic exchange: for keys without wildcards that is the same as a direct one.
fn takes(kind: Option<&str>, key: &str, routing_key: &str) -> bool {
    match kind {
        Some("fanout" | "headers") => true,
        Some("direct") => key == routing_key,
        Some(_) | None => key == routing_key || matches_topic(key, routing_key),
    }
}

/// Matches words between dots: `*` is any one word, `#` any number of them.
fn matches_topic(pattern: &str, key: &str) -> bool {
    let pattern: Vec<&str> = words(pattern);
    let key: Vec<&str> = words(key);
    // `at` walks the key; on a dead end, the last `#` takes one word more.
    let (mut of_pattern, mut at, mut retry) = (0, 0, None);
    while at < key.len() {
        match pattern.get(of_pattern) {
            Some(&"#") => {
                retry = Some((of_pattern, at));
                of_pattern += 1;
            }
            Some(&word) if word == "*" || word == key[at] => {
                of_pattern += 1;
                at += 1;
            }
            Some(_) | None => {
                let Some((hash, taken)) = retry else { return false };
                retry = Some((hash, taken + 1));
                of_pattern = hash + 1;
                at = taken + 1;
            }
        }
    }
    pattern[of_pattern..].iter().all(|word| *word == "#")
}

/// An empty key has no words; between two dots is an empty one.
fn words(key: &str) -> Vec<&str> {
    if key.is_empty() { Vec::new() } else { key.split('.').collect() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn topic_patterns_match_by_words() {
        for (pattern, key, expected) in [
            ("order.*", "order.placed", true),
            ("order.*", "order", false),
            ("order.*", "order.placed.eu", false),
            ("order.#", "order", true),
            ("order.#", "order.placed.eu", true),
            ("#", "", true),
            ("*", "", false),
            ("#", "a.b.c", true),
            ("#.c", "a.b.c", true),
            ("#.c.#", "c", true),
            ("#.b.#.d", "a.b.b.c.d", true),
            ("#.b.#.d", "a.c.d", false),
            ("*.*", "a.", true),
            ("a..b", "a..b", true),
            ("a.*.b", "a..b", true),
            ("order.placed", "order.placed", true),
            ("Order Placed", "Order Placed", true),
        ] {
            assert_eq!(matches_topic(pattern, key), expected, "{pattern} {key}");
        }
    }

    #[test]
    fn the_type_of_the_exchange_says_what_a_key_means() {
        assert!(takes(Some("fanout"), "a", "b"));
        assert!(!takes(Some("direct"), "order.*", "order.placed"));
        assert!(takes(Some("direct"), "order.*", "order.*"));
        assert!(takes(None, "order.*", "order.placed"));
    }

    /// The definition of matching, without any cleverness.
    fn plainly(pattern: &[&str], key: &[&str]) -> bool {
        match (pattern, key) {
            ([], []) => true,
            (["#", rest @ ..], _) => plainly(rest, key) || (!key.is_empty() && plainly(pattern, &key[1..])),
            ([word, rest @ ..], [first, others @ ..]) => (word == &"*" || word == first) && plainly(rest, others),
            ([_, ..] | [], _) => false,
        }
    }

    proptest! {
        #[test]
        fn matching_follows_its_definition(
            pattern in prop::collection::vec(prop::sample::select(vec!["#", "*", "a", "b", ""]), 0..6),
            key in prop::collection::vec(prop::sample::select(vec!["a", "b", ""]), 0..7),
        ) {
            let (pattern, key) = (pattern.join("."), key.join("."));
            prop_assert_eq!(matches_topic(&pattern, &key), plainly(&words(&pattern), &words(&key)), "{} {}", pattern, key);
        }
    }
}
