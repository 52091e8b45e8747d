//! What Escrow still has to publish: the rows of the outbox.
//!
//! The machine writes them, in the transaction of the decision; the relay publishes them. Message ids are the same on
//! every re-send (UUIDv5), so a consumer can drop repeats safely. A row's own key is another UUIDv5 and unique.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;

use super::definition::RetryTo;
use super::order::OrderKey;

/// Namespace of every UUIDv5 Escrow derives.
pub const NAMESPACE: Uuid = Uuid::from_u128(0x6b1d_0d2c_9a1e_5f4b_8c37_e5c2_0b7a_4711);

/// The exchange Escrow declares and publishes on.
pub const EXCHANGE: &str = "escrow";

/// One row of the outbox.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Outgoing {
    /// Names the row; part of `x-escrow-own`.
    pub key: Uuid,
    pub order: OrderKey,
    /// Journal entry it was decided in; with `key`, what rows of one order are sorted by.
    pub sequence: u64,
    /// Place among the rows of that entry.
    pub place: u32,
    pub message_id: String,
    pub content: Content,
}

/// What is sent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "what")]
pub enum Content {
    /// An event about the order, on Escrow's own exchange. Needs no listener, and its confirmation is no input.
    Telling { routing_key: String, body: Value },
    /// A request to undo a step. Must be routed; its confirmation is an input.
    Compensation {
        exchange: String,
        routing_key: String,
        headers: Map<String, Value>,
        properties: Map<String, Value>,
        body: Value,
    },
    /// The stored message of journal entry `of`, sent again. Must be routed; its confirmation is an input.
    Retry { of: u64, to: RetryTo, attempt: u32 },
}

impl Content {
    /// Whether it asks something of a service, so that it must be routed and its confirmation is an input.
    pub fn asks(&self) -> bool {
        !matches!(self, Self::Telling { .. })
    }

    /// The word the API uses for it.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Telling { .. } => "telling",
            Self::Compensation { .. } => "compensation",
            Self::Retry { .. } => "retry",
        }
    }
}

/// A UUIDv5 of `parts`, each with its length, so that no two lists give the same one.
pub fn derived_id(parts: &[&str]) -> Uuid {
    let mut name = Vec::new();
    for part in parts {
        name.extend_from_slice(&(part.len() as u64).to_be_bytes());
        name.extend_from_slice(part.as_bytes());
    }
    Uuid::new_v5(&NAMESPACE, &name)
}
