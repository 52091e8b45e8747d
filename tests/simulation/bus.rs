//! The bus of a seed: one tap with a single active consumer, and everything a broker can do to it.
//!
//! ```text
//!   services ─▶ exchange ─binding─▶ tap: ready ─▶ in a consumer's hands ─ack─▶ gone
//!                                     ▲   │ over the bound: the oldest is dropped, a gap
//!                                     └───┴── the consumer is gone: back in their places, flagged
//! ```
//!
//! This file is the broker's state; [`tap`](crate::tap) and [`sink`](crate::sink) are Escrow's two sides of it.

use std::collections::{BTreeMap, BTreeSet};

use escrow::bus::{Delivery, Gap, GapKind, Item};
use escrow::saga::time::Moment;

use crate::model::{Model, Uid};

/// What waits in the tap.
#[derive(Clone, Debug)]
pub struct Queued {
    pub item: Item,
    /// `None` for canaries and for what Escrow sent itself.
    pub uid: Option<Uid>,
    pub redelivered: bool,
}

#[derive(Clone, Copy, Debug, Default)]
pub struct Exchange {
    pub present: bool,
    pub bound: bool,
    /// Escrow has stored that it is absent: only then may it come back, for whoever deletes and declares an exchange again
    /// between two looks loses the binding in silence (DESIGN 7).
    pub absence_known: bool,
}

/// One consumer of the tap, oldest first in the list.
pub struct Consumer {
    pub id: u64,
    pub held: BTreeMap<u64, Queued>,
    /// Acknowledged, and not processed by the broker yet: lost with the connection.
    pub acks: Vec<u64>,
}

/// What a batch is made of, each with its number.
pub type Taken = (Vec<(u64, Queued)>, Vec<(u64, Gap)>);

pub struct Broker {
    pub up: bool,
    pub exchanges: BTreeMap<String, Exchange>,
    pub ready: BTreeMap<u64, Queued>,
    pub consumers: Vec<Consumer>,
    /// Given with every batch until one that holds it is acknowledged.
    pub gaps: BTreeMap<u64, Gap>,
    pub tap_exists: bool,
    pub bound: usize,
    pub last_lag: Option<(Moment, Moment)>,
    /// Steps nobody is bound to undo or to retry now.
    pub deaf: BTreeSet<String>,
    /// Queues without a consumer, or with messages waiting.
    pub busy: BTreeSet<String>,
    /// Looks at exchanges are refused.
    pub forbids: bool,
    /// Looks get no answer before.
    pub looks_fail_until: Moment,
    last: u64,
}

impl Broker {
    pub fn new(bound: usize, exchanges: &[(&str, bool)]) -> Self {
        let exchange = |(name, present): &(&str, bool)| {
            ((*name).to_owned(), Exchange { present: *present, ..Exchange::default() })
        };
        Self {
            up: true,
            exchanges: exchanges.iter().map(exchange).collect(),
            ready: BTreeMap::new(),
            consumers: Vec::new(),
            gaps: BTreeMap::new(),
            tap_exists: true,
            bound,
            last_lag: None,
            deaf: BTreeSet::new(),
            busy: BTreeSet::new(),
            forbids: false,
            looks_fail_until: Moment(0),
            last: 0,
        }
    }

    pub fn number(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    pub fn is_bound(&self, exchange: &str) -> bool {
        self.tap_exists && self.exchanges.get(exchange).is_some_and(|it| it.present && it.bound)
    }

    /// Puts something at the end of the tap. Answers how many had to go for it.
    pub fn enqueue(&mut self, model: &mut Model, now: Moment, item: Item, uid: Option<Uid>) -> u32 {
        if let Some(uid) = uid {
            let message = &mut model.messages[uid];
            // Of the copies that are not lost, the first counts.
            if message.alive == 0 {
                message.enqueued_at = Some(now);
            }
            message.alive += 1;
        }
        let number = self.number();
        self.ready.insert(number, Queued { item, uid, redelivered: false });
        let mut dropped = 0;
        while self.ready.len() > self.bound {
            let Some((_, oldest)) = self.ready.pop_first() else { break };
            drop_one(model, now, &oldest);
            dropped += 1;
        }
        if dropped > 0 {
            self.gap(GapKind::Overflow, "the tap's bound dropped messages");
        }
        dropped
    }

    pub fn gap(&mut self, kind: GapKind, detail: &str) {
        let number = self.number();
        self.gaps.insert(number, Gap { kind, detail: detail.to_owned() });
    }

    pub fn consumer(&mut self, id: u64) -> Option<&mut Consumer> {
        self.consumers.iter_mut().find(|consumer| consumer.id == id)
    }

    /// A consumer is gone: what it held is back in its place.
    pub fn close(&mut self, id: u64) {
        let Some(at) = self.consumers.iter().position(|consumer| consumer.id == id) else { return };
        for (number, mut queued) in self.consumers.remove(at).held {
            queued.redelivered = true;
            self.ready.insert(number, queued);
        }
    }

    pub fn close_all(&mut self) {
        for id in self.consumers.iter().map(|consumer| consumer.id).collect::<Vec<_>>() {
            self.close(id);
        }
    }

    /// The tap's queue is deleted, with all that was in it.
    pub fn delete_tap(&mut self, model: &mut Model, now: Moment) {
        self.close_all();
        for (_, queued) in std::mem::take(&mut self.ready) {
            drop_one(model, now, &queued);
        }
        self.tap_exists = false;
        for exchange in self.exchanges.values_mut() {
            exchange.bound = false;
        }
    }

    /// The batch of a consumer whose turn it is.
    pub fn take(&mut self, id: u64, cap: usize) -> Option<Taken> {
        if self.consumers.first()?.id != id {
            return None;
        }
        if self.ready.is_empty() && self.gaps.is_empty() {
            return None;
        }
        let mut taken = Vec::new();
        while taken.len() < cap {
            let Some((number, queued)) = self.ready.pop_first() else { break };
            taken.push((number, queued));
        }
        self.consumers[0].held.extend(taken.iter().cloned());
        Some((taken, self.gaps.iter().map(|(number, gap)| (*number, gap.clone())).collect()))
    }

    /// The broker forgets what was acknowledged. Answers whose messages they were; `None`: the consumer is gone.
    pub fn ack(&mut self, id: u64, numbers: &[u64], gaps: &[u64], at_once: bool) -> Option<Vec<Uid>> {
        let consumer = self.consumer(id)?;
        consumer.acks.extend(numbers);
        for gap in gaps {
            self.gaps.remove(gap);
        }
        Some(if at_once { self.process_acks(id) } else { Vec::new() })
    }

    /// Acknowledgements reach the broker.
    pub fn process_acks(&mut self, id: u64) -> Vec<Uid> {
        let Some(consumer) = self.consumer(id) else { return Vec::new() };
        let acks = std::mem::take(&mut consumer.acks);
        acks.iter().filter_map(|number| consumer.held.remove(number)?.uid).collect()
    }
}

fn drop_one(model: &mut Model, now: Moment, queued: &Queued) {
    if let Some(uid) = queued.uid {
        let message = &mut model.messages[uid];
        message.alive -= 1;
        message.lost_at = Some(now);
    }
}

/// A delivery as a service makes it.
pub fn delivery(exchange: &str, routing_key: &str, envelope: escrow::bus::Envelope, body: Vec<u8>) -> Delivery {
    Delivery { exchange: exchange.to_owned(), routing_key: routing_key.to_owned(), envelope, body, redelivered: false }
}
