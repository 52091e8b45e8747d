//! What can happen to an order: the inputs of the machine.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use super::batch::StoredPayload;
use super::definition::{Role, StepIx};
use super::order::{Identity, OrderKey};
use super::time::{Moment, Span};

/// One input to one order.
#[derive(Clone, Debug)]
pub enum Input {
    Event(Box<Event>),
    /// The saga's watermark has passed this moment: whatever was due by then is due.
    Due(Moment),
    Confirmation(Confirmation),
    Command(Command),
    /// A doubt may have gone: look again at what was withheld.
    Reconsider,
}

/// A message read by a definition that names it.
#[derive(Clone, Debug)]
pub struct Event {
    pub name: String,
    /// What it means, conditions already decided, in definition order. Never empty.
    pub roles: Vec<Role>,
    /// `None` when the message carries no id of its own (rule 2).
    pub identity: Option<Identity>,
    pub message: MessageRef,
    pub payload: Arc<Payload>,
    /// What expressions see as `steps.NAME.event`: the body as JSON, under a preset the payload. `None` where the saga reads no
    /// stored events, and where later readers would not find it either (no JSON, too large to keep).
    pub view: Option<Arc<Value>>,
    /// Attribute values found in it, by name.
    pub attributes: Vec<(String, Value)>,
    /// What tells a counted event apart, for each counted step it closes.
    pub parts: BTreeMap<StepIx, String>,
    /// Placed by arrival (rule 5).
    pub inferred: bool,
    /// How far the tap lagged when it was read; `None` when unknown.
    pub lag: Option<Span>,
}

/// The message of a journal entry, as the trail shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessageRef {
    pub id: String,
    /// Empty for events over HTTP.
    pub exchange: String,
    pub routing_key: String,
    /// CloudEvents source, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// The producer's own timestamp: kept and shown, never used.
    pub timestamp: Option<Moment>,
}

/// A message's content, kept apart from the journal so that it can be erased (rule of DESIGN 2: bodies up to a bound are kept).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payload {
    pub salt: [u8; 16],
    /// The body as received; `None` when it was too large to keep.
    pub body: Option<Vec<u8>>,
    /// SHA-256 of the body, kept also when the body is not.
    pub body_hash: [u8; 32],
    /// Headers and properties in the form the bus seam writes and reads: the JSON text that is stored and hashed.
    pub envelope: String,
}

impl Payload {
    /// What the journal keeps instead of the content: a hash nobody can guess the content from without the salt.
    pub fn salted_hash(&self) -> [u8; 32] {
        use sha2::Digest as _;
        let mut hash = sha2::Sha256::new();
        hash.update(self.salt);
        hash.update(self.body_hash);
        hash.update(&self.envelope);
        hash.finalize().into()
    }

    /// Headers and properties as JSON.
    pub fn envelope_value(&self) -> Value {
        serde_json::from_str(&self.envelope).unwrap_or_default()
    }

    /// As the store will give it back, with the message it belongs to.
    pub fn stored(&self, message: &MessageRef) -> StoredPayload {
        StoredPayload {
            salt: self.salt,
            body: self.body.clone(),
            body_hash: self.body_hash,
            envelope: self.envelope_value(),
            exchange: message.exchange.clone(),
            routing_key: message.routing_key.clone(),
            message_id: message.id.clone(),
        }
    }
}

/// What became of a message Escrow published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Confirmation {
    /// The outbox row.
    pub key: Uuid,
    pub verdict: Verdict,
}

/// The broker's word on one message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "verdict", content = "why")]
pub enum Verdict {
    /// Confirmed, and routed to at least one queue where that was asked for.
    Routed,
    /// Confirmed, and returned: nobody is bound to receive it.
    Unroutable(String),
    /// Nacked, or the exchange is missing or not ours to write.
    Refused(String),
    /// Not sent: the consumer it was for cannot take it now.
    Withheld(String),
}

/// What a person asks (rule 15).
#[derive(Clone, Debug, PartialEq)]
pub struct Command {
    pub action: Action,
    pub step: Option<StepIx>,
    pub actor: String,
    pub reason: String,
}

/// A person's wish for one order.
#[derive(Clone, Debug, PartialEq)]
pub struct Ask {
    pub key: OrderKey,
    pub action: Action,
    /// By name; resolved in the definition version the order is on.
    pub step: Option<String>,
    pub actor: String,
    pub reason: String,
    /// Already told apart by order: two orders never share one.
    pub idempotency_key: Option<String>,
}

/// The actions of rule 15.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    Retry,
    Skip,
    Extend(Span),
    Compensate,
    Release,
    Drop,
    Close,
    Note,
}

impl Action {
    /// The words of the actions, in the order of the documentation.
    pub const WORDS: [&'static str; 8] = ["retry", "skip", "extend", "compensate", "release", "drop", "close", "note"];

    /// The word used everywhere.
    pub fn word(self) -> &'static str {
        match self {
            Self::Retry => "retry",
            Self::Skip => "skip",
            Self::Extend(_) => "extend",
            Self::Compensate => "compensate",
            Self::Release => "release",
            Self::Drop => "drop",
            Self::Close => "close",
            Self::Note => "note",
        }
    }
}

/// A command that does not fit where the order stands. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Misfit(pub String);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_of_a_message_hangs_on_its_salt_its_body_and_its_headers() {
        let payload = |salt: u8, body: u8, envelope: &str| Payload {
            salt: [salt; 16],
            body: None,
            body_hash: [body; 32],
            envelope: envelope.to_owned(),
        };
        let hash = |salt, body, envelope| payload(salt, body, envelope).salted_hash();
        let all = [hash(1, 1, "null"), hash(2, 1, "null"), hash(1, 2, "null"), hash(1, 1, "true")];
        assert_eq!(all[0], hash(1, 1, "null"));
        assert!((1..all.len()).all(|other| !all[..other].contains(&all[other])));
    }
}
