//! Reads a stored message back, for the templates of later decisions: they see what the event's own reading saw.

use serde_json::{Value, json};

use super::frame::{Frame, Parts, frame};
use super::message::Message;
use super::{binding, read};
use crate::bus::{Delivery, Envelope};
use crate::saga::definition::{Read, Saga};
use crate::store::StoredPayload;

/// What templates see as `steps.NAME.event`: the body as JSON, under a preset the payload. `envelope` is in the form the bus
/// seam wrote it. `None` where there is no payload or it is no JSON.
pub fn payload_view(read: &Read, envelope: &Value, body: &[u8]) -> Option<Value> {
    let envelope: Envelope = serde_json::from_value(envelope.clone()).ok()?;
    frame(read.preset, Parts { envelope: &envelope, body }).ok()?.view().cloned()
}

/// What the machine is given of the stored message of an event called `name`: `{"body": …, "headers": …}`, without `body` where
/// that is no JSON. `None` where the content was erased or was too large to keep.
///
/// Where the saga reads messages of that place in several ways, the first that finds this name counts, as it did when the
/// message came.
pub fn stored_event(saga: &Saga, name: &str, stored: &StoredPayload) -> Option<Value> {
    let delivery = Delivery {
        exchange: stored.exchange.clone(),
        routing_key: stored.routing_key.clone(),
        envelope: serde_json::from_value(stored.envelope.clone()).ok()?,
        body: stored.body.clone()?,
        redelivered: false,
    };
    let message = Message::new(&delivery, stored.salt, 0, None);
    let ways = binding::reads(saga, &delivery.exchange, &delivery.routing_key, delivery.is_http());
    let finds_name = |way: &&Read| read::event_name_by(saga, way, &message).as_deref() == Some(name);
    let way = ways.iter().copied().find(finds_name).or(ways.first().copied())?;
    let mut event = json!({"headers": delivery.envelope.headers});
    if let Some(body) = message.frame(way.preset).as_ref().ok().and_then(Frame::view) {
        event["body"] = body.clone();
    }
    Some(event)
}
