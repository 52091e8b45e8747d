//! Seam 2: what carries bytes to and from the services.
//!
//! A [`Source`] gives batches of deliveries, a [`Sink`] publishes. They move bytes, headers and properties and know nothing of
//! orders. Three stand behind the seam: RabbitMQ, an in-process bus for the demo and the simulator, and events over HTTP
//! (a source alone). Where messages wait in a queue of Escrow's own, a [`Tap`] stands for it: it opens sources, sends
//! canaries through the queue, and binds it to the exchanges the definitions watch.
//!
//! ```text
//!   Tap::source ─▶ Source ──Batch──▶ ingest ──commit──▶ Receipt::ack      Sink ◀──Publication── relay
//!   Tap::send_canary ─▶ … ─▶ Item::Canary                                 Tap::look ◀── every 2 s, always
//! ```
//!
//! A batch is acknowledged after its effect is committed, or dropped: then the source, or its successor, gives it again.

mod canary;
pub mod http;
pub mod memory;
mod peek;
pub mod plan;
pub mod rabbitmq;
pub mod services;
pub mod topic;

use std::collections::BTreeMap;

use futures_util::future::BoxFuture;
use serde_json::Value;

pub use self::peek::{Peek, PeekError, Peeked};
use crate::saga::definition::Declare;
use crate::saga::queue::Found;
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

/// The property that says what of a message could not be read as it was sent, with the original bytes.
pub const UNREADABLE: &str = "$unreadable";

/// What surrounds a body. As JSON it is what the store keeps: `{"headers": {…}, "properties": {…}}`.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Envelope {
    /// Header table as JSON: numbers as numbers, byte strings as text, tables as objects, times as RFC 3339 text. What JSON
    /// cannot say of a type is in the property `$types`, so that the message can be sent again exactly.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, Value>,
    /// AMQP properties by their field's name (`message_id`, `content_type`, `timestamp` as seconds, …), those that are set.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub properties: BTreeMap<String, Value>,
}

impl Envelope {
    /// The property that says what JSON cannot say of types: an object, from the path of a value to the letter of its type.
    pub const TYPES: &str = "$types";

    /// A property's text.
    pub fn property(&self, name: &str) -> Option<&str> {
        self.properties.get(name)?.as_str()
    }

    /// A header's text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.as_str()
    }

    /// What of the message stands here not as it was sent, because it is no text or cannot be read: `routing_key`, `exchange`,
    /// `property:NAME`, `header:NAME`; `headers` where it may be any of them. Bad bytes of texts stand as `\xNN`.
    pub fn unreadable(&self) -> impl Iterator<Item = &str> {
        let parts = self.properties.get(UNREADABLE).and_then(|remark| remark.get("parts")?.as_array());
        parts.into_iter().flatten().filter_map(Value::as_str)
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
    /// Messages may have been missed. Comes before any canary that was behind the loss, so that it is recorded before the
    /// watermark moves; given again until a batch holding it is acknowledged.
    Gap(Gap),
}

/// A loss, or a possible one, between the last watermark and now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    pub kind: GapKind,
    /// What happened, for a person.
    pub detail: String,
}

/// How messages may have been missed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum GapKind {
    /// The tap was not there and had to be declared anew. No gap if it was never read from: then this is the beginning.
    DeclaredAnew,
    /// The tap was found nearly full on connecting: its bound may have dropped messages.
    NearlyFull,
    /// The tap's bound dropped messages.
    Overflow,
}

/// What a source gives at once: all that is there, up to its bounds, in the order of the queue.
pub struct Batch {
    /// The tap it came from; `None` for sources without a watermark of their own.
    pub tap: Option<String>,
    pub items: Vec<Item>,
    /// How far behind the tap was when the batch was taken, by its last canary.
    pub lag: Option<Span>,
    /// Something in it is delivered for the first time, as far as the bus says. What was given back comes before that, so nothing
    /// of an earlier batch can come after.
    pub is_fresh: bool,
    /// It holds as much as a batch may: there is most likely more.
    pub is_full: bool,
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

    /// Looks at a queue of a service, passively: the same look that withholds retries, so that one per queue and second serves
    /// everybody who asks. Nothing is declared, consumed or published.
    ///
    /// # Errors
    /// Nothing is known about it.
    fn look_at_queue(&self, queue: String) -> BoxFuture<'_, Result<Found, BusError>>;

    /// Whether it is connected now, for `/readyz`.
    fn is_connected(&self) -> bool;
}

/// One Escrow's own queue on a bus, shared by its replicas. Everything in it is Escrow's; the exchanges it is bound to are not.
pub trait Tap: Send + Sync {
    /// What the store knows it by (`escrow.tap.NAME` on RabbitMQ).
    fn name(&self) -> &str;

    /// Opens the tap. Waits for the connection, for as long as it takes; cancel safe. One source at a time is given messages,
    /// over all replicas; the others stand by. Dropping the source gives the tap, and all that was not acknowledged, to the
    /// next one.
    ///
    /// # Errors
    /// `Disconnected`: ask again after a while. `Misconfigured`: ask again, but a person has to act first.
    fn source(&self) -> BoxFuture<'_, Result<Box<dyn Source>, BusError>>;

    /// Sends a canary through the tap: it comes back as [`Item::Canary`] behind everything enqueued before.
    ///
    /// # Errors
    /// It may or may not come back; send another one later.
    fn send_canary(&self, sent_at: Moment, carried: Option<Moment>) -> BoxFuture<'_, Result<(), BusError>>;

    /// Looks at each wanted exchange and binds the tap where it is there; one answer per wanted exchange, in their order.
    /// Repeated by the caller every 2 s, always: an exchange deleted and declared again loses its bindings silently.
    ///
    /// # Errors
    /// Nothing is known about any of them.
    fn look(&self, wanted: Vec<Wanted>) -> BoxFuture<'_, Result<Vec<Look>, BusError>>;

    /// Removes bindings of the tap to a foreign exchange, on request only: an auto-delete exchange goes with its last binding.
    ///
    /// # Errors
    /// Some of the keys may be unbound.
    fn unbind(&self, exchange: String, keys: Vec<String>) -> BoxFuture<'_, Result<(), BusError>>;

    /// Whether an administrator binds the tap, and the bus lets Escrow neither bind it nor see what it is bound to: then a look's
    /// `bound` is the administrator's word.
    fn is_administered(&self) -> bool {
        false
    }

    /// How it is now, from memory: never waits.
    fn health(&self) -> TapHealth;

    /// Closes the connections in good order, those of the sink that was made with it too. Open sources end with
    /// `Disconnected`.
    fn close(&self) -> BoxFuture<'_, ()>;
}

/// A foreign exchange the tap should be bound to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    pub exchange: String,
    /// Declared so, if it is absent.
    pub declare: Option<Declare>,
    /// Binding keys as the definition gives them.
    pub keys: Option<Vec<String>>,
    /// The event names the definition needs, where the routing key is the event name.
    pub routing_key_events: Option<Vec<String>>,
}

impl Wanted {
    /// The keys to bind: those given, else the event names where they are the routing key, else `#` and the empty key.
    ///
    /// AMQP does not tell an exchange's type, so the last pair has to be right for each: `#` is everything on a topic exchange
    /// and a harmless literal on a direct one; the empty key is what publishers without keys use on a direct exchange; a
    /// fanout exchange ignores keys, and a headers exchange matches everything when a binding has no arguments.
    pub fn binding_keys(&self) -> Vec<String> {
        match (&self.keys, &self.routing_key_events) {
            (Some(keys), _) => keys.clone(),
            (None, Some(events)) => events.clone(),
            (None, None) => vec!["#".into(), String::new()],
        }
    }
}

/// What a look at one wanted exchange found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Look {
    pub exchange: String,
    /// `false`: it was absent during this look, so nothing can have been published to it before the look began.
    pub found: bool,
    /// All keys are bound now.
    pub bound: bool,
    /// Why it cannot be seen, declared or bound, where it cannot.
    pub problem: Option<String>,
}

/// A foreign exchange the tap is taken from, on request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unbinding {
    pub exchange: String,
    pub keys: Vec<String>,
    /// It is deleted with its last binding; `None` where that cannot be known.
    pub is_auto_delete: Option<bool>,
    /// What came of it; `None` if nothing was done.
    pub outcome: Option<Result<(), String>>,
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
#[expect(clippy::struct_excessive_bools, reason = "independent facts, each shown as it is")]
pub struct TapHealth {
    /// The consuming connection stands.
    pub connected: bool,
    /// A source is open and its consumer registered.
    pub consuming: bool,
    /// The publishing connection stands.
    pub publishing: bool,
    /// The broker holds back what is published (a memory or disk alarm).
    pub blocked: bool,
    /// Messages waiting in the tap at the last look.
    pub depth: Option<u64>,
    /// So many may wait there; what is more drops the oldest. `None`: not bounded, or not by Escrow.
    pub bound: Option<u64>,
    /// What is wrong, in words.
    pub problem: Option<String>,
}
