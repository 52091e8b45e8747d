//! Whether every watched message can be read, and every event be seen.

use super::is_own;
use crate::saga::definition::{OrderIdFrom, Place, Preset, Read, Selector, Watch};
use crate::saga::parse::build::{Built, reading};
use crate::saga::parse::finding::{Findings, Mark};
use crate::saga::parse::hint;
use crate::saga::parse::tree::Node;

pub(super) fn check(root: &Node, built: &Built, findings: &mut Findings) {
    let entries = root.get("watch").map(Node::items).unwrap_or_default();
    let mut seen: Vec<&Place> = Vec::new();
    let mut watches = built.saga.watch.iter();
    for entry in entries {
        let Some(mark) = place_mark(entry) else { continue };
        let Some(watch) = watches.next() else { break };
        if seen.iter().any(|place| overlap(place, &watch.place)) {
            let hint = "join the two entries into one, or give each its own `keys`".to_owned();
            findings.error(mark, "the same messages are watched twice", hint);
        }
        seen.push(&watch.place);
        match &watch.place {
            Place::Exchange { name, declare, keys } => {
                if is_own(name) {
                    let hint = "watch the exchanges the services publish to".to_owned();
                    findings.error(mark, format!("`{name}` is Escrow's own; it never watches itself"), hint);
                }
                if declare.as_ref().is_some_and(|declare| declare.kind == "fanout") && keys.is_some() {
                    let keys = entry.entry("keys").map_or(mark, |(name, _)| name.mark);
                    findings.warning(keys, "a fanout exchange pays no attention to keys", None);
                }
                readable(root, entry, &watch.read, findings);
                bound(entry, watch, built, findings);
            }
            Place::Http => over_http(entry, &watch.read, findings),
        }
    }
    unseen(built, findings);
}

/// The value that names the place, where it was built.
fn place_mark(entry: &Node) -> Option<Mark> {
    entry
        .get("exchange")
        .filter(|node| node.text().is_some())
        .map(|node| node.mark)
        .or_else(|| entry.entry("http").map(|(name, _)| name.mark))
}

/// Whether two places surely give the same message. One exchange may be read in several ways, by different keys.
fn overlap(one: &Place, other: &Place) -> bool {
    match (one, other) {
        (Place::Exchange { name, keys, .. }, Place::Exchange { name: other, keys: others, .. }) => {
            name == other
                && match (keys, others) {
                    (Some(keys), Some(others)) => keys.iter().any(|key| others.contains(key)),
                    (None, _) | (_, None) => true,
                }
        }
        (Place::Http, Place::Http) => true,
        (Place::Exchange { .. }, Place::Http) | (Place::Http, Place::Exchange { .. }) => false,
    }
}

/// Whether event and order id are said, by selectors or by the preset.
fn readable(root: &Node, entry: &Node, read: &Read, findings: &mut Findings) {
    let read_key = entry.entry("read").or_else(|| root.entry("read")).map(|(name, _)| name.mark);
    let mark = read_key.or_else(|| root.entry("watch").map(|(name, _)| name.mark)).unwrap_or(root.mark);
    let said = |key: &str| [entry, root].iter().any(|node| node.get("read").and_then(|read| read.get(key)).is_some());
    if read.event.is_empty() && read.preset.is_none() && !said("event") && !said("preset") {
        let hint =
            "add `event:` under `read`, such as `event: /event_type`, `event: routing_key`, or a `preset`".to_owned();
        findings.error(mark, "nothing says where a message has the name of its event", hint);
    }
    let by_subject = read.preset == Some(Preset::CloudEvents);
    let is_missing = matches!(&read.order_id, OrderIdFrom::Message(selectors) if selectors.is_empty());
    if is_missing && !by_subject && !said("order_id") {
        let hint = "add `order_id:` under `read`, such as `order_id: /data/order_id`; or `order_id: arrival` where \
                    messages carry none";
        findings.error(mark, "nothing says where a message has its order id", hint.to_owned());
    }
    let all = read.event.iter().chain(reading::of_order_id(&read.order_id)).chain(&read.id);
    if read.preset.is_none() && !said("preset") && all.clone().any(|selector| matches!(selector, Selector::Envelope(_)))
    {
        let hint = "without a preset, the body is the whole message: write the pointer alone".to_owned();
        findings.error(mark, "`envelope:` without a `preset`: there is no envelope", hint);
    }
}

fn over_http(entry: &Node, read: &Read, findings: &mut Findings) {
    let Some(node) = entry.get("http").and_then(|http| http.get("read")) else { return };
    if let Some(preset) = node.get("preset").filter(|_| read.preset != Some(Preset::CloudEvents)) {
        let hint = "leave `preset` out".to_owned();
        findings.error(preset.mark, "events over HTTP are CloudEvents", hint);
    }
    for key in ["event", "order_id", "id"] {
        for item in node.get(key).map(Node::items).unwrap_or_default() {
            let text = item.text().unwrap_or_default();
            if text.starts_with("routing_key") || text == "exchange" {
                let message = format!("events over HTTP have no `{text}`");
                findings.error(item.mark, message, "write a pointer, or `header:NAME`".to_owned());
            }
        }
    }
}

/// A binding key that is an event's name, and is not the name of an event anything waits for.
fn bound(entry: &Node, watch: &Watch, built: &Built, findings: &mut Findings) {
    if watch.read.event != [Selector::RoutingKey] {
        return;
    }
    for item in entry.get("keys").map(Node::items).unwrap_or_default() {
        let Some(key) = item.text().filter(|key| !key.split('.').any(|word| word == "*" || word == "#")) else {
            continue;
        };
        if !built.events.iter().any(|(_, event)| event == key) {
            let events = built.events.iter().map(|(_, event)| event.as_str());
            let hint =
                hint::did_you_mean(key, events).unwrap_or_else(|| "leave it out, or name it in a step".to_owned());
            findings.error(item.mark, format!("no step reads the event `{key}`"), hint);
        }
    }
}

/// An event that no binding lets through, where all of them are given by name.
fn unseen(built: &Built, findings: &mut Findings) {
    let mut bindings: Vec<&str> = Vec::new();
    for watch in &built.saga.watch {
        match &watch.place {
            Place::Exchange { keys: Some(keys), .. } if watch.read.event == [Selector::RoutingKey] => {
                bindings.extend(keys.iter().map(String::as_str));
            }
            Place::Exchange { .. } => return,
            Place::Http => {}
        }
    }
    for (mark, event) in built.events.iter().filter(|_| !bindings.is_empty()) {
        if !bindings.iter().any(|binding| lets_through(binding, event)) {
            let hint = "add it to the `keys` of its exchange; only over HTTP it could be seen now".to_owned();
            findings.warning(*mark, format!("no binding lets `{event}` through"), hint);
        }
    }
}

/// Whether a topic binding matches: `*` is one word, `#` any number of them.
fn lets_through(binding: &str, key: &str) -> bool {
    let words: Vec<&str> = key.split('.').collect();
    let mut reached = vec![false; words.len() + 1];
    reached[0] = true;
    for part in binding.split('.') {
        let mut next = vec![false; words.len() + 1];
        let mut any = false;
        for (place, was) in reached.iter().enumerate() {
            any |= *was;
            match part {
                "#" => next[place] = any,
                _ if *was && place < words.len() && (part == "*" || part == words[place]) => next[place + 1] = true,
                _ => {}
            }
        }
        reached = next;
    }
    reached[words.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bindings_match_words() {
        for (binding, key, matches) in [
            ("order.*", "order.placed", true),
            ("order.*", "order", false),
            ("order.#", "order", true),
            ("#", "a.b.c", true),
            ("#.c", "a.b.c", true),
            ("a.#.c", "a.c", true),
            ("a.*.c", "a.c", false),
            ("A sentence", "A sentence", true),
        ] {
            assert_eq!(lets_through(binding, key), matches, "{binding} {key}");
        }
    }
}
