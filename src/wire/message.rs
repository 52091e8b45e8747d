//! One delivery on its way to several sagas: what is the same for all of them is worked out once, and only if asked for.

use std::cell::OnceCell;
use std::sync::Arc;

use serde_json::{Map, Value};
use sha2::Digest as _;

use super::frame::{self, Facts, Frame, Parts};
use super::preset::cloudevents;
use crate::bus::{Delivery, Envelope};
use crate::saga::decide::RawMessage;
use crate::saga::definition::{Preset, Selector};
use crate::saga::input::Payload;
use crate::saga::order::Digest;
use crate::saga::time::Span;

/// Headers a broker writes while it carries a message; they say nothing about the message itself. A star ends a prefix.
const OF_THE_BROKER: [&str; 4] = ["x-death*", "x-first-death*", "x-last-death*", "x-delivery-count"];

/// A delivery, ready to be read by any number of sagas.
pub struct Message<'d> {
    pub(super) delivery: &'d Delivery,
    pub(super) lag: Option<Span>,
    /// Whose it is, where a person says so.
    pub(super) order_id: Option<&'d str>,
    salt: [u8; 16],
    body_keep_bytes: usize,
    payload: OnceCell<Arc<Payload>>,
    /// By preset: none, `CloudEvents`, `MassTransit`, `NServiceBus`.
    frames: [OnceCell<Result<Frame<'d>, String>>; 4],
    unasked: OnceCell<Facts>,
}

impl<'d> Message<'d> {
    /// `salt` is 16 random bytes for this delivery; bodies longer than `body_keep_bytes` are read but not kept; `lag` is how
    /// far the tap lagged, if that is known.
    pub fn new(delivery: &'d Delivery, salt: [u8; 16], body_keep_bytes: usize, lag: Option<Span>) -> Self {
        Self {
            delivery,
            lag,
            order_id: None,
            salt,
            body_keep_bytes,
            payload: OnceCell::new(),
            frames: Default::default(),
            unasked: OnceCell::new(),
        }
    }

    /// The same message, of the order a person names, whatever it says itself.
    pub fn of_order(self, order_id: Option<&'d str>) -> Self {
        Self { order_id, ..self }
    }

    /// What a message without an id is recognised by when the broker delivers it again (rule 2): SHA-256 over place, headers,
    /// properties and body, without what the broker itself adds on the way.
    pub fn content_hash(&self) -> Digest {
        let envelope = &self.delivery.envelope;
        let mut hash = sha2::Sha256::new();
        let mut part = |bytes: &[u8]| {
            hash.update((bytes.len() as u64).to_be_bytes());
            hash.update(bytes);
        };
        part(self.delivery.exchange.as_bytes());
        part(self.delivery.routing_key.as_bytes());
        part(&self.payload().body_hash);
        for (name, value) in envelope.headers.iter().filter(|(name, _)| !is_of_the_broker(name)) {
            part(name.as_bytes());
            part(value.to_string().as_bytes());
        }
        part(b"");
        for (name, value) in &envelope.properties {
            let value = if name == Envelope::TYPES { &types_of_the_sender(value) } else { value };
            if !value.is_null() {
                part(name.as_bytes());
                part(value.to_string().as_bytes());
            }
        }
        hash.finalize().into()
    }

    /// Names of the event by `preset`, the likeliest first; none where the message is not of the kind.
    pub fn types(&self, preset: Preset) -> &[String] {
        self.frame(Some(preset)).as_ref().map_or(&[], |frame| &frame.types)
    }

    /// The payload by `preset` as JSON, or the body without one; `None` where there is none, or it is no JSON.
    pub fn payload_value(&self, preset: Option<Preset>) -> Option<&Value> {
        self.frame(preset).as_ref().ok()?.view()
    }

    /// The content as it is stored; shared by all who read it.
    pub(super) fn payload(&self) -> &Arc<Payload> {
        self.payload.get_or_init(|| {
            let body = &self.delivery.body;
            Arc::new(Payload {
                salt: self.salt,
                body: (body.len() <= self.body_keep_bytes).then(|| body.clone()),
                body_hash: sha2::Sha256::digest(body).into(),
                envelope: serde_json::to_string(&self.delivery.envelope).unwrap_or_default(),
            })
        })
    }

    /// The message as it came, should it find no place; what is kept of it is shared with the events it is read as.
    pub fn raw(&self) -> RawMessage {
        let body = &self.delivery.body;
        let payload = Arc::clone(self.payload());
        let cut =
            if payload.body.is_some() { Vec::new() } else { body[..self.body_keep_bytes.min(body.len())].to_vec() };
        RawMessage {
            exchange: self.delivery.exchange.clone(),
            routing_key: self.delivery.routing_key.clone(),
            payload,
            cut,
            body_bytes: body.len() as u64,
        }
    }

    /// What `preset` makes of it, or why it is none of the kind.
    pub(super) fn frame(&self, preset: Option<Preset>) -> &Result<Frame<'d>, String> {
        let place = match preset {
            None => 0,
            Some(Preset::CloudEvents) => 1,
            Some(Preset::MassTransit) => 2,
            Some(Preset::NServiceBus) => 3,
        };
        self.frames[place].get_or_init(|| {
            if matches!(preset, Some(Preset::CloudEvents | Preset::NServiceBus)) {
                // What kind of a message it is, and what its event is, may be in any of them.
                self.as_sent(|part| part.starts_with("header") || part == "property:content_type")?;
            }
            frame::frame(preset, self.parts())
        })
    }

    /// Id, source and time of a message that says it is a CloudEvent, although no preset was asked for.
    pub(super) fn unasked_facts(&self) -> &Facts {
        self.unasked.get_or_init(|| cloudevents::facts_if_declared(self.parts()))
    }

    /// Whether what `selector` names is as it was sent.
    ///
    /// # Errors
    /// It is not; in words.
    pub(super) fn readable(&self, selector: &Selector) -> Result<(), String> {
        self.as_sent(|part| match selector {
            Selector::Pointer(_) | Selector::Envelope(_) => false,
            Selector::RoutingKey | Selector::RoutingKeyWord(_) => part == "routing_key",
            Selector::Exchange => part == "exchange",
            Selector::Header(name) => part == "headers" || part.strip_prefix("header:") == Some(name),
            Selector::Property(name) => part.strip_prefix("property:") == Some(name),
        })
    }

    /// Whether all headers are as they were sent.
    ///
    /// # Errors
    /// One is not; in words.
    pub(super) fn headers_readable(&self) -> Result<(), String> {
        self.as_sent(|part| part.starts_with("header"))
    }

    fn as_sent(&self, is_meant: impl Fn(&str) -> bool) -> Result<(), String> {
        let part = self.delivery.envelope.unreadable().find(|part| is_meant(part));
        part.map_or(Ok(()), |part| Err(format!("the message's {part} is no UTF-8 text, or no value known to AMQP")))
    }

    fn parts(&self) -> Parts<'d> {
        Parts { envelope: &self.delivery.envelope, body: &self.delivery.body }
    }
}

/// What is said of the types of headers, without those a broker writes; null when that is nothing.
fn types_of_the_sender(types: &Value) -> Value {
    let is_the_senders = |path: &str| !is_of_the_broker(path.split('/').nth(1).unwrap_or_default());
    let all = types.as_object().into_iter().flatten();
    let types: Map<String, Value> =
        all.filter(|(path, _)| is_the_senders(path)).map(|(path, letter)| (path.clone(), letter.clone())).collect();
    if types.is_empty() { Value::Null } else { Value::Object(types) }
}

/// Whether a header was written by a broker, not by the sender.
pub(super) fn is_of_the_broker(header: &str) -> bool {
    OF_THE_BROKER.iter().any(|name| match name.strip_suffix('*') {
        Some(prefix) => header.starts_with(prefix),
        None => header == *name,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::wire::fixture::{KEEP_BYTES, SALT, delivery};

    #[test]
    fn the_types_and_the_payload_are_those_of_the_preset_that_is_asked_for() {
        let body = r#"{"specversion": "1.0", "type": "Paid", "source": "/shop", "id": "1", "data": {"n": 1}}"#;
        let event = delivery("shop", "").with_body(body).with_property("content_type", "application/cloudevents+json");
        let message = Message::new(&event, SALT, KEEP_BYTES, None);
        assert_eq!(message.types(Preset::CloudEvents), ["Paid"]);
        assert_eq!(message.payload_value(Some(Preset::CloudEvents)), Some(&json!({"n": 1})));
        assert_eq!(
            message.payload_value(None).map(|body| &body["type"]),
            Some(&json!("Paid")),
            "without one, the body"
        );
        assert!(message.types(Preset::NServiceBus).is_empty() && message.types(Preset::MassTransit).is_empty());
        let text = delivery("shop", "").with_body("no JSON");
        assert_eq!(Message::new(&text, SALT, KEEP_BYTES, None).payload_value(None), None);
        assert_eq!(Message::new(&text, SALT, KEEP_BYTES, None).of_order(Some("7")).order_id, Some("7"));
    }
}
