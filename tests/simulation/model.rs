//! What is true: which message was published when, where it is, and what each order means to the services.
//!
//! The model knows nothing of the machine. It is what the checks hold Escrow's own record against.

use std::collections::{BTreeMap, BTreeSet};

use escrow::saga::definition::Saga;
use escrow::saga::time::Moment;

use crate::definitions::LINE;

/// The number of a message: carried in a header, so that it is found again wherever Escrow puts the message.
pub type Uid = usize;

/// One message of a service, however often it is delivered.
#[derive(Clone, Debug)]
pub struct Message {
    pub order: String,
    pub event: String,
    pub exchange: &'static str,
    pub id: Option<String>,
    pub body: Vec<u8>,
    /// No saga can read it.
    pub malformed: bool,
    /// Not even its event can be read.
    pub garbage: bool,
    /// Belongs to the saga whose messages name no order.
    pub is_line: bool,
    /// When it first came into the tap.
    pub enqueued_at: Option<Moment>,
    /// Copies that came into the tap and were not dropped there.
    pub alive: u32,
    /// It reached the exchange, and never the tap; or the tap dropped it.
    pub lost_at: Option<Moment>,
}

impl Message {
    pub fn is_lost(&self) -> bool {
        self.lost_at.is_some() && self.alive == 0
    }
}

/// All that was ever published.
#[derive(Default)]
pub struct Model {
    pub messages: Vec<Message>,
    pub of_order: BTreeMap<String, Vec<Uid>>,
    /// What became of a message for a saga: order and sequence of its entry.
    pub applied: BTreeMap<(String, Uid), (String, u64)>,
    pub quarantined: BTreeSet<(String, Uid)>,
}

impl Model {
    pub fn add(&mut self, message: Message) -> Uid {
        let uid = self.messages.len();
        self.of_order.entry(message.order.clone()).or_default().push(uid);
        self.messages.push(message);
        uid
    }

    /// Whether the definition has a use for the message.
    pub fn is_named(&self, saga: &Saga, uid: Uid) -> bool {
        let message = &self.messages[uid];
        message.is_line == (saga.name == LINE) && (message.garbage || saga.roles.contains_key(&message.event))
    }

    /// Whether the message has its outcome for the saga.
    pub fn is_handled(&self, saga: &str, uid: Uid) -> bool {
        let key = (saga.to_owned(), uid);
        self.applied.contains_key(&key) || self.quarantined.contains(&key)
    }

    /// The messages of an order that came into the tap before `moment`, are still to be had, and have no outcome.
    pub fn unapplied_before(&self, saga: &Saga, order: &str, moment: Moment) -> Vec<Uid> {
        let mine = self.of_order.get(order).into_iter().flatten().copied();
        mine.filter(|&uid| {
            let message = &self.messages[uid];
            message.enqueued_at.is_some_and(|at| at < moment)
                && message.alive > 0
                && !message.malformed
                && self.is_named(saga, uid)
                && !self.is_handled(&saga.name, uid)
        })
        .collect()
    }

    /// The lost messages of an order that would have closed a step, published before `moment`, when the order had begun on
    /// the bus. Nobody can know that an order was there of which nothing had come yet.
    pub fn lost_answers(&self, order: &str, events: &[String], moment: Moment) -> Vec<Uid> {
        let mine = || self.of_order.get(order).into_iter().flatten().copied();
        let began =
            mine().filter(|uid| !self.messages[*uid].is_lost()).filter_map(|uid| self.messages[uid].enqueued_at).min();
        mine()
            .filter(|&uid| {
                let message = &self.messages[uid];
                let in_time = message.lost_at.is_some_and(|at| at < moment && began.is_some_and(|began| began < at));
                message.is_lost() && in_time && events.contains(&message.event)
            })
            .collect()
    }
}
