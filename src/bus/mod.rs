//! Seam 2: what carries bytes to and from the services.
//!
//! A [`Source`] gives batches of deliveries, a [`Sink`] publishes. They move bytes, headers and properties and know nothing of
//! orders. Three stand behind the seam: RabbitMQ, an in-process bus for the demo and the simulator, and events over HTTP
//! (a source alone).
//!
//! ```text
//!   Source ──Batch──▶ ingest ──commit──▶ Receipt::ack          Sink ◀──Publication── relay
//! ```
//!
//! A batch is acknowledged after its effect is committed, or dropped: then the source gives it again.

use std::collections::BTreeMap;

use futures_util::future::BoxFuture;
use serde_json::Value;

use crate::saga::time::{Moment, Span};

/// A message found on the bus.
#[derive(Clone, Debug, PartialEq)]
pub struct Delivery {
    pub exchange: String,
    pub routing_key: String,
    pub envelope: Envelope,
    pub body: Vec<u8>,
    /// The broker says it may have been delivered before.
    pub redelivered: bool,
}

impl Delivery {
    /// Whether it came over HTTP: such events have neither exchange nor key. Nothing can be bound to the broker's exchange
    /// without a name, and what is sent through it straight into a queue has the queue's name for a key.
    pub fn is_http(&self) -> bool {
        self.exchange.is_empty() && self.routing_key.is_empty()
    }
}

/// What surrounds a body. As JSON it is what the store keeps: `{"headers": {…}, "properties": {…}}`.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Envelope {
    /// Header table as JSON: numbers as numbers, byte strings as text, tables as objects, times as RFC 3339 text.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, Value>,
    /// AMQP properties by their field's name (`message_id`, `content_type`, `timestamp` as seconds, …), those that are set.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub properties: BTreeMap<String, Value>,
}

impl Envelope {
    /// A property's text.
    pub fn property(&self, name: &str) -> Option<&str> {
        self.properties.get(name)?.as_str()
    }

    /// A header's text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.as_str()
    }
}

/// One thing a source found.
#[derive(Clone, Debug, PartialEq)]
pub enum Item {
    Delivery(Delivery),
    /// A canary of this tap came back. Everything enqueued before `sent_at` came before it.
    Canary {
        sent_at: Moment,
        /// The stored watermark when it was sent: later than the stored one now means that the database lost commits.
        carried: Option<Moment>,
    },
}

/// What a source gives at once: all that is there, up to its bounds, in the order of the queue.
pub struct Batch {
    /// The tap it came from; `None` for sources without a watermark of their own.
    pub tap: Option<String>,
    pub items: Vec<Item>,
    /// How far behind the tap was when the batch was taken, by its last canary.
    pub lag: Option<Span>,
    pub receipt: Box<dyn Receipt>,
}

/// The right to acknowledge one batch, once.
pub trait Receipt: Send {
    /// Says that the batch's effect is committed. With `settle`, returns only when the broker has surely processed it, so that
    /// the next batch may be committed (rule 2).
    ///
    /// # Errors
    /// The batch will be delivered again: its effect must be recognised then.
    fn ack(self: Box<Self>, settle: bool) -> BoxFuture<'static, Result<(), BusError>>;
}

/// Where deliveries come from.
pub trait Source: Send {
    /// Waits for the next batch. Cancel safe: a cancelled call loses nothing.
    ///
    /// # Errors
    /// The source is gone; what was not acknowledged comes again from its successor.
    fn next_batch(&mut self) -> BoxFuture<'_, Result<Batch, BusError>>;
}

/// A message to publish.
#[derive(Clone, Debug, PartialEq)]
pub struct Publication {
    /// Value of `x-escrow-own` without the hash: how a returned message is matched.
    pub key: String,
    pub target: Target,
    pub envelope: Envelope,
    pub body: Vec<u8>,
    /// Somebody must be bound to receive it.
    pub mandatory: bool,
}

/// Where a publication goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    Exchange {
        exchange: String,
        routing_key: String,
    },
    /// Only the consumers of one queue, through `escrow.retry`; withheld if the queue cannot take it now.
    Queue(String),
}

/// The bus's word on one publication. Never "probably": what is not known is `Unknown`, and will be sent again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Published {
    Confirmed,
    Unroutable(String),
    Refused(String),
    Withheld(String),
    Unknown(String),
}

/// Where publications go.
pub trait Sink: Send + Sync {
    /// Publishes all and waits for the word on each; one answer per publication, in their order.
    fn publish(&self, publications: Vec<Publication>) -> BoxFuture<'_, Result<Vec<Published>, BusError>>;

    /// Whether it is connected now, for `/readyz`.
    fn is_connected(&self) -> bool;
}

/// What a caller can do about a failed call.
#[derive(Debug, thiserror::Error)]
pub enum BusError {
    /// The connection is gone; its supervisor is making another.
    #[error("the bus is not connected: {0}")]
    Disconnected(String),
    /// It will not work until a person changes something.
    #[error("the bus refuses: {0}")]
    Misconfigured(String),
}

/// The tap's own view of the bus, for `/v1/status` and blindness.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TapHealth {
    pub connected: bool,
    pub consuming: bool,
    /// Messages waiting in the tap at the last look.
    pub depth: Option<u64>,
    /// What is wrong, in words.
    pub problem: Option<String>,
}
