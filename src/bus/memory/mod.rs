//! A bus inside the process, for the demo, the simulator and tests: the part of RabbitMQ that choreographies use.
//!
//! ```text
//!   service ──publish──▶ exchange (direct, fanout, topic) ──binding──▶ queue ──▶ Subscription of a service
//!                                                            └───────▶ tap   ──▶ Source of Escrow
//! ```
//!
//! Queues keep order and give back what was not acknowledged, in its place and flagged as redelivered. A service goes down by
//! dropping its [`Subscription`] (a queue that stays keeps its messages) or by [`MemoryBus::delete_queue`] (what is published
//! meanwhile is missed). Nothing is kept beyond the process, nothing is bounded, and nothing ever waits but for messages.

mod queue;
mod services;
mod subscription;
mod tap;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::future::BoxFuture;
use tokio::sync::Notify;

use self::queue::Queue;
pub use self::services::MemoryServices;
pub use self::subscription::{Received, Subscription};
pub use self::tap::MemoryTap;
use super::topic;
use super::{BusError, Delivery, Envelope, Publication, Published, Sink, Target, canary};
use crate::saga::outgoing;
use crate::saga::queue::Found;

/// The exchange re-sent messages take to one queue.
const RETRY_EXCHANGE: &str = "escrow.retry";

/// How an exchange chooses among its bindings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Direct,
    Fanout,
    Topic,
}

/// Exchanges and queues of one process. Clones are the same bus.
#[derive(Clone)]
pub struct MemoryBus(Arc<Inner>);

struct Inner {
    state: Mutex<State>,
    /// Something was enqueued, given back, closed or opened.
    changed: Notify,
}

struct State {
    exchanges: BTreeMap<String, Exchange>,
    queues: BTreeMap<String, Queue>,
    consumers: u64,
    up: bool,
}

struct Exchange {
    kind: Kind,
    /// Key and queue.
    bindings: Vec<(String, String)>,
}

impl Default for MemoryBus {
    fn default() -> Self {
        let state = State { exchanges: BTreeMap::new(), queues: BTreeMap::new(), consumers: 0, up: true };
        let bus = Self(Arc::new(Inner { state: Mutex::new(state), changed: Notify::new() }));
        bus.declare_exchange(outgoing::EXCHANGE, Kind::Topic);
        bus.declare_exchange(RETRY_EXCHANGE, Kind::Direct);
        bus.declare_exchange(canary::EXCHANGE, Kind::Direct);
        bus
    }
}

impl MemoryBus {
    /// The tap of the Escrow called `name`.
    pub fn tap(&self, name: &str) -> Arc<MemoryTap> {
        Arc::new(MemoryTap::new(self.clone(), name))
    }

    /// Makes an exchange; one that is there stays as it is.
    pub fn declare_exchange(&self, name: &str, kind: Kind) {
        self.lock().exchanges.entry(name.to_owned()).or_insert(Exchange { kind, bindings: Vec::new() });
    }

    /// Removes an exchange with its bindings.
    pub fn delete_exchange(&self, name: &str) {
        self.lock().exchanges.remove(name);
    }

    /// Makes a queue; one that is there stays as it is.
    pub fn declare_queue(&self, name: &str) {
        self.lock().queues.entry(name.to_owned()).or_default();
    }

    /// Removes a queue with its messages and bindings. Its subscriptions end.
    pub fn delete_queue(&self, name: &str) {
        let mut state = self.lock();
        state.queues.remove(name);
        for exchange in state.exchanges.values_mut() {
            exchange.bindings.retain(|(_, queue)| queue != name);
        }
        drop(state);
        self.0.changed.notify_waiters();
    }

    /// Binds a queue to an exchange. Returns whether both are there.
    pub fn bind(&self, queue: &str, exchange: &str, key: &str) -> bool {
        let mut state = self.lock();
        if !state.queues.contains_key(queue) {
            return false;
        }
        let Some(exchange) = state.exchanges.get_mut(exchange) else { return false };
        let binding = (key.to_owned(), queue.to_owned());
        if !exchange.bindings.contains(&binding) {
            exchange.bindings.push(binding);
        }
        true
    }

    /// Consumes a queue, as a service does; `None` if it is not there.
    pub fn subscribe(&self, queue: &str) -> Option<Subscription> {
        let consumer = self.lock().open(queue, false)?;
        Some(Subscription::new(self.clone(), queue.to_owned(), consumer))
    }

    /// Publishes, as a service does: nobody has to be bound.
    pub fn send(&self, exchange: &str, routing_key: &str, envelope: Envelope, body: Vec<u8>) -> Published {
        let delivery = Delivery {
            exchange: exchange.to_owned(),
            routing_key: routing_key.to_owned(),
            envelope,
            body,
            redelivered: false,
        };
        self.route(&delivery, false)
    }

    /// Messages waiting in a queue; `None` if it is not there.
    pub fn depth(&self, queue: &str) -> Option<usize> {
        self.lock().queues.get(queue).map(Queue::ready)
    }

    /// Takes the bus down, or up again. Going down ends every source and subscription; queues keep their messages.
    pub fn set_up(&self, up: bool) {
        let mut state = self.lock();
        state.up = up;
        if !up {
            for queue in state.queues.values_mut() {
                queue.close_all();
            }
        }
        drop(state);
        self.0.changed.notify_waiters();
    }

    fn route(&self, delivery: &Delivery, mandatory: bool) -> Published {
        let mut state = self.lock();
        let Some(queues) = state.routes(&delivery.exchange, &delivery.routing_key) else {
            return Published::Refused(format!("no exchange `{}`", delivery.exchange));
        };
        if queues.is_empty() && mandatory {
            return Published::Unroutable(format!(
                "nothing is bound to `{}` for the key `{}`",
                delivery.exchange, delivery.routing_key
            ));
        }
        for name in queues {
            if let Some(queue) = state.queues.get_mut(&name) {
                queue.push(delivery.clone());
            }
        }
        drop(state);
        self.0.changed.notify_waiters();
        Published::Confirmed
    }

    fn deliver(&self, publication: Publication) -> Published {
        let Publication { key: _, target, envelope, body, mandatory } = publication;
        match target {
            Target::Exchange { exchange, routing_key } => {
                self.route(&Delivery { exchange, routing_key, envelope, body, redelivered: false }, mandatory)
            }
            Target::Queue(queue) => {
                let found = self.found(&queue);
                if !found.can_take() {
                    return Published::Withheld(found.words(&queue));
                }
                let exchange = RETRY_EXCHANGE.to_owned();
                let delivery = Delivery { exchange, routing_key: queue.clone(), envelope, body, redelivered: false };
                match self.route(&delivery, true) {
                    Published::Unroutable(_) => {
                        Published::Withheld(format!("there is no binding `{RETRY_EXCHANGE}` → `{queue}`"))
                    }
                    word => word,
                }
            }
        }
    }

    fn found(&self, queue: &str) -> Found {
        let state = self.lock();
        state.queues.get(queue).map_or(Found::Missing, |it| Found::counted(it.ready() as u64, it.consumers() as u64))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sink for MemoryBus {
    fn publish(&self, publications: Vec<Publication>) -> BoxFuture<'_, Result<Vec<Published>, BusError>> {
        Box::pin(async move {
            if !self.is_connected() {
                return Err(BusError::Disconnected("the bus is down".into()));
            }
            Ok(publications.into_iter().map(|publication| self.deliver(publication)).collect())
        })
    }

    fn look_at_queue(&self, queue: String) -> BoxFuture<'_, Result<Found, BusError>> {
        let found = if self.is_connected() {
            Ok(self.found(&queue))
        } else {
            Err(BusError::Disconnected("the bus is down".into()))
        };
        Box::pin(std::future::ready(found))
    }

    fn is_connected(&self) -> bool {
        self.lock().up
    }
}

impl State {
    /// The queues a message reaches, each once; `None` if there is no such exchange.
    fn routes(&self, exchange: &str, routing_key: &str) -> Option<Vec<String>> {
        if exchange.is_empty() {
            // The default exchange reaches every queue by its name.
            return Some(self.queues.contains_key(routing_key).then(|| routing_key.to_owned()).into_iter().collect());
        }
        let exchange = self.exchanges.get(exchange)?;
        let mut queues: Vec<String> = Vec::new();
        for (key, queue) in &exchange.bindings {
            let reaches = match exchange.kind {
                Kind::Fanout => true,
                Kind::Direct => key == routing_key,
                Kind::Topic => topic::matches(key, routing_key),
            };
            if reaches && !queues.contains(queue) {
                queues.push(queue.clone());
            }
        }
        Some(queues)
    }

    /// Registers a consumer. Of an `exclusive` queue only the oldest consumer is given messages.
    fn open(&mut self, queue: &str, exclusive: bool) -> Option<u64> {
        let up = self.up;
        let queue = self.queues.get_mut(queue).filter(|_| up)?;
        self.consumers += 1;
        queue.open(self.consumers, exclusive);
        Some(self.consumers)
    }
}
