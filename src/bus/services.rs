//! The services' side of a bus, for the demo: how a simulated service publishes, and how it hears the others.
//!
//! Two stand behind it, as behind the seam for Escrow: the bus in memory and RabbitMQ. What is declared here belongs to the
//! services, as in the field: a fanout exchange each, and a queue for each inbox.
//!
//! ```text
//!   service ──publish──▶ its own exchange ──┬─▶ anonymous queue: gone with the service, and what it misses is missed
//!                                           └─▶ named queue: stays while the service is down, and keeps its messages
//! ```

use futures_util::future::BoxFuture;

use super::{BusError, Source};

/// Where a service hears from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inbox {
    /// Everything published to these is heard.
    pub exchanges: Vec<String>,
    /// A durable queue of this name, acknowledged message by message. `None`: a queue of the service's own that nothing is
    /// acknowledged in and that goes when the service does.
    pub queue: Option<String>,
}

/// What one service has to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    pub exchange: String,
    pub message_id: String,
    /// JSON.
    pub body: Vec<u8>,
}

/// A bus as services see it.
pub trait ServiceLink: Send + Sync {
    /// Makes durable fanout exchanges where they are not there yet. Waits for the connection.
    ///
    /// # Errors
    /// `Misconfigured` where one is there with another shape.
    fn declare(&self, exchanges: Vec<String>) -> BoxFuture<'_, Result<(), BusError>>;

    /// Opens an inbox. Its source gives one message at a time; a receipt that is dropped gives the message back where the
    /// queue is named, and dropping the source is the service going down.
    ///
    /// # Errors
    /// It cannot be opened now; ask again.
    fn listen(&self, inbox: Inbox) -> BoxFuture<'_, Result<Box<dyn Source>, BusError>>;

    /// Publishes and forgets, as services do: nobody has to be bound, and no confirmation is waited for.
    ///
    /// # Errors
    /// It was not sent.
    fn publish(&self, said: Said) -> BoxFuture<'_, Result<(), BusError>>;

    /// Closes the connection in good order.
    fn close(&self) -> BoxFuture<'_, ()>;
}
