//! What one message looks like: where its event name may stand, and what in it may name an order. Guesses alone; which of them
//! hold is seen over many messages.

use serde_json::Value;

use crate::bus::Delivery;
use crate::saga::definition::Preset;
use crate::wire::Message;

/// Longer texts name neither an event nor an order.
const TEXT_BYTES_MAX: usize = 256;
/// Ids are never deep inside, and a body may be made to be walked for long.
const DEPTH_MAX: usize = 5;
const IDS_MAX: usize = 100;

/// Words that name an event at the top of a body, or in a header, the surest first.
const EVENT_WORDS: [&str; 5] = ["eventtype", "eventname", "messagetype", "type", "event"];
/// Those that also do one level down, where a plain `type` says something else.
const SURE_WORDS: usize = 3;
/// Last words of what names something.
const ID_WORDS: [&str; 11] =
    ["id", "uuid", "guid", "ref", "reference", "number", "no", "nr", "order", "correlation", "subject"];
/// They end like an id and are none.
const NO_IDS: [&str; 5] = ["paid", "prepaid", "unpaid", "valid", "void"];

/// How an event name is found.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Way {
    Preset(Preset),
    Selector(String),
}

impl Way {
    /// As it is written under `read`.
    pub fn text(&self) -> String {
        match self {
            Self::Preset(preset) => format!("preset: {}", preset_word(*preset)),
            Self::Selector(selector) => selector.clone(),
        }
    }
}

/// As a definition writes it.
pub fn preset_word(preset: Preset) -> &'static str {
    match preset {
        Preset::CloudEvents => "cloudevents",
        Preset::MassTransit => "masstransit",
        Preset::NServiceBus => "nservicebus",
    }
}

/// Ready to be looked at in any way.
pub fn message(delivery: &Delivery) -> Message<'_> {
    Message::new(delivery, [0; 16], 0, None)
}

/// Every name the event may have, the likeliest first.
pub fn names(delivery: &Delivery, message: &Message<'_>) -> Vec<(Way, String)> {
    let body = message.payload_value(None);
    let mut found = Vec::new();
    for preset in [Preset::CloudEvents, Preset::MassTransit, Preset::NServiceBus] {
        let says_so = match preset {
            Preset::CloudEvents => is_cloudevent(delivery, body),
            Preset::MassTransit => body.is_some_and(|body| body["messageType"].is_array()),
            Preset::NServiceBus => true,
        };
        if let Some(name) = message.types(preset).first().filter(|_| says_so) {
            found.push((Way::Preset(preset), name.clone()));
        }
    }
    let mut selector = |selector: String, value: &Value| {
        if let Value::String(name) = value {
            found.push((Way::Selector(selector), name.clone()));
        }
    };
    let fields = body.and_then(Value::as_object);
    for word in EVENT_WORDS {
        for (key, value) in fields.into_iter().flatten().filter(|(key, _)| squeezed(key) == word) {
            selector(pointer("", key), value);
        }
    }
    for word in &EVENT_WORDS[..SURE_WORDS] {
        for (outer, inner) in fields.into_iter().flatten() {
            let inside = inner.as_object().into_iter().flatten();
            for (key, value) in inside.filter(|(key, _)| squeezed(key) == *word) {
                selector(pointer(&pointer("", outer), key), value);
            }
        }
    }
    if let Some(value) = delivery.envelope.properties.get("type") {
        selector("property:type".into(), value);
    }
    for word in EVENT_WORDS {
        let is_it = |header: &str| squeezed(header).trim_start_matches('x') == word;
        for (header, value) in delivery.envelope.headers.iter().filter(|(header, _)| is_it(header)) {
            selector(format!("header:{header}"), value);
        }
    }
    if let Some(value) = fields.and_then(|fields| fields.get("name")) {
        selector("/name".into(), value);
    }
    found.push((Way::Selector("routing_key".into()), delivery.routing_key.clone()));
    found.retain(|(_, name)| is_short_text(name));
    found
}

/// Everything in the message that may name an order: selector and value. Pointers are into what `preset` makes of it.
pub fn ids(delivery: &Delivery, message: &Message<'_>, preset: Option<Preset>) -> Vec<(String, String)> {
    let mut found = Vec::new();
    if let Some(payload) = message.payload_value(preset) {
        walk(payload, "", DEPTH_MAX, &mut found);
    }
    let mut add = |selector: String, value: Option<&Value>| {
        found.extend(value.and_then(id_text).map(|value| (selector, value)));
    };
    let envelope = message.payload_value(None);
    let outside = |name: &str| envelope.and_then(|body| body.get(name));
    match preset {
        Some(Preset::CloudEvents) => {
            let headers = &delivery.envelope.headers;
            let header = headers.iter().find(|(name, _)| is_attribute(name, "subject")).map(|(_, value)| value);
            add("envelope:/subject".into(), header.or(outside("subject")));
        }
        Some(Preset::MassTransit) => {
            for name in ["correlationId", "conversationId"] {
                add(format!("envelope:/{name}"), outside(name));
            }
        }
        Some(Preset::NServiceBus) | None => {}
    }
    for (header, value) in &delivery.envelope.headers {
        if looks_like_id(header) && !is_attribute(header, "subject") {
            add(format!("header:{header}"), Some(value));
        }
    }
    add("property:correlation_id".into(), delivery.envelope.properties.get("correlation_id"));
    found
}

fn walk(value: &Value, path: &str, depth: usize, found: &mut Vec<(String, String)>) {
    for (key, value) in value.as_object().into_iter().flatten() {
        if found.len() >= IDS_MAX {
            return;
        }
        let path = pointer(path, key);
        if value.is_object() && depth > 1 {
            walk(value, &path, depth - 1, found);
        } else if looks_like_id(key) {
            found.extend(id_text(value).map(|value| (path, value)));
        }
    }
}

/// Text or a whole number.
fn id_text(value: &Value) -> Option<String> {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Number(number) if number.is_i64() || number.is_u64() => number.to_string(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => return None,
    };
    is_short_text(&text).then_some(text)
}

fn is_short_text(text: &str) -> bool {
    (1..=TEXT_BYTES_MAX).contains(&text.len())
}

fn is_cloudevent(delivery: &Delivery, body: Option<&Value>) -> bool {
    let declared = delivery.envelope.property("content_type").unwrap_or_default().to_ascii_lowercase();
    declared.starts_with("application/cloudevents")
        || delivery.envelope.headers.keys().any(|header| is_attribute(header, "specversion"))
        || body.is_some_and(|body| body["specversion"].is_string())
}

/// Whether a header is this attribute of a CloudEvent, by any of the prefixes in use.
fn is_attribute(header: &str, name: &str) -> bool {
    let header = header.to_ascii_lowercase();
    let prefixes = ["cloudevents:", "cloudevents_", "ce-", "ce_"];
    prefixes.iter().any(|prefix| header.strip_prefix(prefix) == Some(name))
}

/// Whether the last word of a name is one that ids have.
fn looks_like_id(name: &str) -> bool {
    let last = words(name).pop().unwrap_or_default();
    ID_WORDS.contains(&last.as_str()) || (last.ends_with("id") && !NO_IDS.contains(&last.as_str()))
}

/// `orderId`, `order_id`, `Order-ID`, `X.OrderID`: order, id.
pub fn words(name: &str) -> Vec<String> {
    let mut words: Vec<String> = vec![String::new()];
    let mut before = ' ';
    for it in name.chars() {
        let begins = it.is_uppercase() && before.is_lowercase();
        if (begins || !it.is_alphanumeric()) && words.last().is_some_and(|word| !word.is_empty()) {
            words.push(String::new());
        }
        if it.is_alphanumeric()
            && let Some(word) = words.last_mut()
        {
            word.extend(it.to_lowercase());
        }
        before = it;
    }
    words.retain(|word| !word.is_empty());
    words
}

/// Lower case, letters and digits alone.
fn squeezed(name: &str) -> String {
    name.chars().filter(|it| it.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

fn pointer(parent: &str, key: &str) -> String {
    format!("{parent}/{}", key.replace('~', "~0").replace('/', "~1"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_known_by_their_last_word() {
        for name in ["id", "order_id", "orderId", "OrderID", "order-no", "orderid", "x-correlation-id", "Order.Uuid"] {
            assert!(looks_like_id(name), "{name}");
        }
        for name in ["", "paid", "is_valid", "idea", "order_date", "total", "id_type", "customer"] {
            assert!(!looks_like_id(name), "{name}");
        }
    }

    #[test]
    fn names_fall_into_words() {
        for (name, expected) in [
            ("orderId", vec!["order", "id"]),
            ("OrderID", vec!["order", "id"]),
            ("/data/order_id", vec!["data", "order", "id"]),
            ("", vec![]),
            ("__", vec![]),
        ] {
            assert_eq!(words(name), expected, "{name}");
        }
    }
}
