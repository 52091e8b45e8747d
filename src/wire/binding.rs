//! Which messages of the shared tap belong to a saga: those of the places it watches, with the keys it names.
//!
//! The tap is bound for all sagas together, so a message may be there because of another saga's binding. Whether it is
//! this saga's is decided here, as the broker would.

use std::sync::LazyLock;

use crate::bus::topic;
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
        Some(_) | None => key == routing_key || topic::matches(key, routing_key),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_type_of_the_exchange_says_what_a_key_means() {
        assert!(takes(Some("fanout"), "a", "b"));
        assert!(!takes(Some("direct"), "order.*", "order.placed"));
        assert!(takes(Some("direct"), "order.*", "order.*"));
        assert!(takes(None, "order.*", "order.placed"));
    }
}
