//! How a simulated service reads its queue: one message at a time, each acknowledged or given back.

use super::MemoryBus;
use crate::bus::Delivery;

/// A service's consumer. Dropping it is the service going down: what it held goes back to the queue.
pub struct Subscription {
    bus: MemoryBus,
    queue: String,
    consumer: u64,
}

impl Subscription {
    pub(super) fn new(bus: MemoryBus, queue: String, consumer: u64) -> Self {
        Self { bus, queue, consumer }
    }

    /// Waits for the next message; `None` once the queue was deleted or the bus went down. Cancel safe.
    pub async fn next(&mut self) -> Option<Received> {
        loop {
            let changed = self.bus.0.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            {
                let mut state = self.bus.lock();
                let queue = state.queues.get_mut(&self.queue).filter(|queue| queue.is_open(self.consumer))?;
                if let Some((number, delivery)) = queue.take(self.consumer) {
                    let (bus, queue) = (self.bus.clone(), self.queue.clone());
                    return Some(Received { delivery, bus, queue, consumer: self.consumer, number, done: false });
                }
            }
            changed.await;
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        if let Some(queue) = self.bus.lock().queues.get_mut(&self.queue) {
            queue.close(self.consumer);
        }
        self.bus.0.changed.notify_waiters();
    }
}

/// A message in a service's hands. Dropped without [`Received::ack`], it goes back to its place in the queue.
pub struct Received {
    pub delivery: Delivery,
    bus: MemoryBus,
    queue: String,
    consumer: u64,
    number: u64,
    done: bool,
}

impl Received {
    /// The message is dealt with.
    pub fn ack(mut self) {
        self.done = true;
        if let Some(queue) = self.bus.lock().queues.get_mut(&self.queue) {
            queue.ack(self.consumer, &[self.number]);
        }
    }
}

impl Drop for Received {
    fn drop(&mut self) {
        if self.done {
            return;
        }
        if let Some(queue) = self.bus.lock().queues.get_mut(&self.queue) {
            queue.give_back(self.consumer, self.number);
        }
        self.bus.0.changed.notify_waiters();
    }
}
