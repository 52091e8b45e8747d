//! A look at what passes through foreign exchanges, for a person who is about to write a definition.
//!
//! Nothing is read from a service's queue: a queue of Escrow's own is bound for the time of the look, and goes with it.

use std::time::Duration;

use super::{BusError, Delivery, Wanted};

/// What to look at, and for how long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peek {
    pub exchanges: Vec<String>,
    /// Binding keys, on each of them; `None` for those that see most on every type of exchange.
    pub keys: Option<Vec<String>>,
    /// The name of an Escrow whose tap has to be on this broker, so that the look does not leave the exchanges without bindings.
    pub beside: Option<String>,
    /// From when the queue is bound.
    pub wait: Duration,
    /// The look ends with this many messages.
    pub messages_max: usize,
    /// The look ends once it holds this many bytes of bodies.
    pub bytes_max: usize,
}

impl Peek {
    /// The keys to bind.
    pub fn binding_keys(&self) -> Vec<String> {
        Wanted { keys: self.keys.clone(), ..Wanted::default() }.binding_keys()
    }
}

/// A message that passed.
#[derive(Clone, Debug)]
pub struct Peeked {
    /// When it came, after the look began.
    pub after: Duration,
    pub delivery: Delivery,
}

/// Why nothing could be looked at.
#[derive(Debug, thiserror::Error)]
pub enum PeekError {
    #[error("there is no exchange `{0}`")]
    NoExchange(String),
    /// Nothing was bound.
    #[error("there is no queue `{0}` on this broker and virtual host")]
    NoTap(String),
    #[error(transparent)]
    Bus(#[from] BusError),
}
