//! Building what is watched and how it is read.

use super::{flag, selectors, word};
use crate::saga::definition::{Declare, OrderIdFrom, Place, Preset, Read, Selector, Watch};
use crate::saga::parse::tree::Node;

/// All watched places in the order of the file; events over HTTP are always among them.
pub(super) fn watch(root: &Node) -> Vec<Watch> {
    let mut places: Vec<Watch> = Vec::new();
    for entry in root.get("watch").map(Node::items).unwrap_or_default() {
        if let Some(name) = entry.get("exchange").and_then(Node::text) {
            places
                .push(Watch { place: exchange(name, entry), read: merged(entry.get("read"), root.get("read"), None) });
        } else if let Some(http) = entry.get("http") {
            places.push(Watch { place: Place::Http, read: merged(http.get("read"), None, Some(Preset::CloudEvents)) });
        }
    }
    if !places.iter().any(|watch| watch.place == Place::Http) {
        places.push(Watch { place: Place::Http, read: merged(None, None, Some(Preset::CloudEvents)) });
    }
    places
}

fn exchange(name: &str, entry: &Node) -> Place {
    let declare = entry.get("declare").map(|declare| Declare {
        kind: word(declare, "type").to_owned(),
        durable: flag(declare, "durable"),
        auto_delete: flag(declare, "auto_delete"),
        internal: flag(declare, "internal"),
    });
    let keys = entry.get("keys").map(|keys| keys.items().iter().filter_map(Node::text).map(str::to_owned).collect());
    Place::Exchange { name: name.to_owned(), declare, keys }
}

/// `inner` over `outer`, key by key. What neither says is left to the preset.
fn merged(inner: Option<&Node>, outer: Option<&Node>, preset: Option<Preset>) -> Read {
    let find = |key: &str| inner.and_then(|read| read.get(key)).or_else(|| outer.and_then(|read| read.get(key)));
    let order_id = find("order_id");
    Read {
        event: selectors(find("event")),
        order_id: match order_id.and_then(Node::text) {
            Some("arrival") => OrderIdFrom::Arrival,
            _ => OrderIdFrom::Message(selectors(order_id)),
        },
        id: selectors(find("id")),
        preset: find("preset").and_then(Node::text).and_then(preset_called).or(preset),
    }
}

fn preset_called(word: &str) -> Option<Preset> {
    match word {
        "cloudevents" => Some(Preset::CloudEvents),
        "masstransit" => Some(Preset::MassTransit),
        "nservicebus" => Some(Preset::NServiceBus),
        _ => None,
    }
}

/// The selectors of an order id; none for `arrival`.
pub(in crate::saga::parse) fn of_order_id(from: &OrderIdFrom) -> &[Selector] {
    match from {
        OrderIdFrom::Message(selectors) => selectors,
        OrderIdFrom::Arrival => &[],
    }
}
