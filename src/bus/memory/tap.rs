//! Escrow's tap on the bus in memory: the same promises as on a broker, as far as a process can have them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::future::BoxFuture;

use super::queue::Numbered;
use super::{Kind, MemoryBus};
use crate::bus::canary::{self, Flights};
use crate::bus::{Batch, BusError, Delivery, Item, Look, Published, Receipt, Source, Tap, TapHealth, Wanted};
use crate::saga::time::Moment;

/// A batch is not larger than this.
const BATCH_MESSAGES: usize = 1_000;
/// A batch takes no further message once it holds this much.
const BATCH_BYTES: usize = 8 * 1024 * 1024;

/// The tap of one Escrow.
pub struct MemoryTap {
    bus: MemoryBus,
    key: String,
    queue: String,
    flights: Arc<Flights>,
    closed: AtomicBool,
}

impl MemoryTap {
    pub(super) fn new(bus: MemoryBus, name: &str) -> Self {
        let queue = format!("escrow.tap.{name}");
        bus.declare_queue(&queue);
        bus.bind(&queue, canary::EXCHANGE, name);
        Self { bus, key: name.to_owned(), queue, flights: Arc::default(), closed: AtomicBool::new(false) }
    }

    fn look_at(&self, wanted: &Wanted) -> Look {
        let exchange = wanted.exchange.clone();
        let mut problem = None;
        let found = self.bus.lock().exchanges.contains_key(&exchange);
        if !found {
            let kind = wanted.declare.as_ref().map(|declare| (declare.kind.as_str(), kind(&declare.kind)));
            match kind {
                Some((_, Some(kind))) => self.bus.declare_exchange(&exchange, kind),
                Some((word, None)) => problem = Some(format!("the bus in memory has no `{word}` exchanges")),
                None => {}
            }
        }
        let bound = wanted.binding_keys().iter().all(|key| self.bus.bind(&self.queue, &exchange, key));
        Look { exchange, found, bound, problem }
    }

    fn open(&self) -> Result<MemorySource, BusError> {
        if self.closed.load(Ordering::Acquire) {
            return Err(gone("closed"));
        }
        self.bus.declare_queue(&self.queue);
        self.bus.bind(&self.queue, canary::EXCHANGE, &self.key);
        let consumer = self.bus.lock().open(&self.queue, true).ok_or_else(|| gone("the bus is down"))?;
        let handle = Handle { bus: self.bus.clone(), queue: self.queue.clone(), consumer };
        Ok(MemorySource { handle, flights: Arc::clone(&self.flights) })
    }
}

impl Tap for MemoryTap {
    fn name(&self) -> &str {
        &self.queue
    }

    fn source(&self) -> BoxFuture<'_, Result<Box<dyn Source>, BusError>> {
        Box::pin(async move { self.open().map(|source| Box::new(source) as Box<dyn Source>) })
    }

    fn send_canary(&self, sent_at: Moment, carried: Option<Moment>) -> BoxFuture<'_, Result<(), BusError>> {
        Box::pin(async move {
            if !self.bus.lock().up {
                return Err(gone("the bus is down"));
            }
            self.flights.sent(sent_at);
            let delivery = Delivery {
                exchange: canary::EXCHANGE.into(),
                routing_key: self.key.clone(),
                envelope: canary::envelope(sent_at, carried),
                body: Vec::new(),
                redelivered: false,
            };
            match self.bus.route(&delivery, true) {
                Published::Confirmed => Ok(()),
                Published::Unroutable(why)
                | Published::Refused(why)
                | Published::Withheld(why)
                | Published::Unknown(why) => Err(gone(&why)),
            }
        })
    }

    fn look(&self, wanted: Vec<Wanted>) -> BoxFuture<'_, Result<Vec<Look>, BusError>> {
        Box::pin(async move {
            if !self.bus.lock().up {
                return Err(gone("the bus is down"));
            }
            Ok(wanted.iter().map(|wanted| self.look_at(wanted)).collect())
        })
    }

    fn unbind(&self, exchange: String, keys: Vec<String>) -> BoxFuture<'_, Result<(), BusError>> {
        Box::pin(async move {
            if let Some(exchange) = self.bus.lock().exchanges.get_mut(&exchange) {
                exchange.bindings.retain(|(key, queue)| *queue != self.queue || !keys.contains(key));
            }
            Ok(())
        })
    }

    fn health(&self) -> TapHealth {
        let state = self.bus.lock();
        let up = state.up && !self.closed.load(Ordering::Acquire);
        let queue = state.queues.get(&self.queue);
        TapHealth {
            connected: up,
            consuming: up && queue.is_some_and(|queue| queue.consumers() > 0),
            publishing: up,
            blocked: false,
            depth: queue.map(|queue| queue.ready() as u64),
            bound: None,
            problem: (!up).then(|| "the bus is down".into()),
        }
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            self.closed.store(true, Ordering::Release);
            if let Some(queue) = self.bus.lock().queues.get_mut(&self.queue) {
                queue.close_all();
            }
            self.bus.0.changed.notify_waiters();
        })
    }
}

fn kind(word: &str) -> Option<Kind> {
    match word {
        "direct" => Some(Kind::Direct),
        "fanout" => Some(Kind::Fanout),
        "topic" => Some(Kind::Topic),
        _ => None,
    }
}

/// A registered consumer of the tap.
#[derive(Clone)]
struct Handle {
    bus: MemoryBus,
    queue: String,
    consumer: u64,
}

impl Handle {
    /// Ends the consumer; what it held goes back.
    fn close(&self) {
        if let Some(queue) = self.bus.lock().queues.get_mut(&self.queue) {
            queue.close(self.consumer);
        }
        self.bus.0.changed.notify_waiters();
    }

    /// What is there, up to the bounds; an error once this consumer was ended.
    fn take(&self) -> Result<Vec<Numbered>, BusError> {
        let mut state = self.bus.lock();
        let queue = state.queues.get_mut(&self.queue).filter(|queue| queue.is_open(self.consumer));
        let queue = queue.ok_or_else(|| gone("this source is over"))?;
        let (mut taken, mut bytes) = (Vec::new(), 0);
        while taken.len() < BATCH_MESSAGES && bytes < BATCH_BYTES {
            let Some((number, delivery)) = queue.take(self.consumer) else { break };
            bytes += delivery.body.len();
            taken.push((number, delivery));
        }
        Ok(taken)
    }
}

struct MemorySource {
    handle: Handle,
    flights: Arc<Flights>,
}

impl MemorySource {
    async fn next(&mut self) -> Result<Batch, BusError> {
        let bus = self.handle.bus.clone();
        let taken = loop {
            let changed = bus.0.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let taken = self.handle.take()?;
            if !taken.is_empty() {
                break taken;
            }
            changed.await;
        };
        let numbers = taken.iter().map(|(number, _)| *number).collect();
        let is_fresh = taken.iter().any(|(_, delivery)| !delivery.redelivered);
        let is_full = taken.len() >= BATCH_MESSAGES;
        let items = taken.into_iter().map(|(_, delivery)| self.item(delivery)).collect();
        let receipt = MemoryReceipt { handle: self.handle.clone(), numbers, done: false };
        let tap = Some(self.handle.queue.clone());
        Ok(Batch { tap, items, lag: self.flights.lag(), is_fresh, is_full, receipt: Box::new(receipt) })
    }

    fn item(&self, delivery: Delivery) -> Item {
        if delivery.exchange == canary::EXCHANGE
            && let Some(item) = canary::read(&delivery.envelope)
        {
            if let Item::Canary { sent_at, .. } = &item {
                self.flights.back(*sent_at);
            }
            return item;
        }
        Item::Delivery(delivery)
    }
}

impl Source for MemorySource {
    fn next_batch(&mut self) -> BoxFuture<'_, Result<Batch, BusError>> {
        Box::pin(self.next())
    }
}

impl Drop for MemorySource {
    fn drop(&mut self) {
        self.handle.close();
    }
}

struct MemoryReceipt {
    handle: Handle,
    numbers: Vec<u64>,
    done: bool,
}

impl Receipt for MemoryReceipt {
    fn ack(mut self: Box<Self>, _settle: bool) -> BoxFuture<'static, Result<(), BusError>> {
        Box::pin(async move {
            let mut state = self.handle.bus.lock();
            let queue = state.queues.get_mut(&self.handle.queue);
            let ours = queue.is_some_and(|queue| queue.ack(self.handle.consumer, &self.numbers));
            drop(state);
            self.done = ours;
            if ours { Ok(()) } else { Err(gone("the source of this batch is over")) }
        })
    }
}

impl Drop for MemoryReceipt {
    fn drop(&mut self) {
        if !self.done {
            self.handle.close();
        }
    }
}

fn gone(why: &str) -> BusError {
    BusError::Disconnected(why.into())
}
