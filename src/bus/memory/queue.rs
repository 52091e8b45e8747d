//! One queue: messages in order, those in a consumer's hands, and who consumes.

use std::collections::BTreeMap;

use crate::bus::Delivery;

/// A message with its place in the queue.
pub(super) type Numbered = (u64, Delivery);

#[derive(Default)]
pub(super) struct Queue {
    last: u64,
    ready: BTreeMap<u64, Delivery>,
    /// By consumer; oldest consumer first.
    taken: BTreeMap<u64, BTreeMap<u64, Delivery>>,
    exclusive: bool,
}

impl Queue {
    pub(super) fn push(&mut self, delivery: Delivery) {
        self.last += 1;
        self.ready.insert(self.last, delivery);
    }

    pub(super) fn ready(&self) -> usize {
        self.ready.len()
    }

    pub(super) fn consumers(&self) -> usize {
        self.taken.len()
    }

    pub(super) fn is_open(&self, consumer: u64) -> bool {
        self.taken.contains_key(&consumer)
    }

    pub(super) fn open(&mut self, consumer: u64, exclusive: bool) {
        self.exclusive |= exclusive;
        self.taken.insert(consumer, BTreeMap::new());
    }

    /// Ends a consumer; what it held goes back to its place.
    pub(super) fn close(&mut self, consumer: u64) {
        for (number, mut delivery) in self.taken.remove(&consumer).into_iter().flatten() {
            delivery.redelivered = true;
            self.ready.insert(number, delivery);
        }
    }

    pub(super) fn close_all(&mut self) {
        for consumer in self.taken.keys().copied().collect::<Vec<_>>() {
            self.close(consumer);
        }
    }

    /// Gives a consumer the next message, if it is its turn and there is one.
    pub(super) fn take(&mut self, consumer: u64) -> Option<Numbered> {
        let first = self.taken.keys().next().copied();
        if self.exclusive && first != Some(consumer) {
            return None;
        }
        let held = self.taken.get_mut(&consumer)?;
        let (number, delivery) = self.ready.pop_first()?;
        held.insert(number, delivery.clone());
        Some((number, delivery))
    }

    /// Forgets messages a consumer has dealt with. Returns whether all of them were still its own.
    pub(super) fn ack(&mut self, consumer: u64, numbers: &[u64]) -> bool {
        let Some(held) = self.taken.get_mut(&consumer) else { return false };
        numbers.iter().filter(|number| held.remove(number).is_some()).count() == numbers.len()
    }

    /// Gives one message back to its place.
    pub(super) fn give_back(&mut self, consumer: u64, number: u64) {
        if let Some(mut delivery) = self.taken.get_mut(&consumer).and_then(|held| held.remove(&number)) {
            delivery.redelivered = true;
            self.ready.insert(number, delivery);
        }
    }
}
