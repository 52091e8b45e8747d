//! What a batch comes to: finds the order each input belongs to and runs the machine, one input after the other.
//!
//! Pure, and a function of its arguments alone: the store may ask again after a conflict. How a batch is split changes
//! nothing but the moments written down. One order's trouble (an unreadable row, a command that does not fit) stays its
//! own.

mod deciding;
mod placing;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use self::deciding::Deciding;
use super::batch::{Changes, Loaded, Lookup, NewDoubt, Quarantined, Resolved, StoredPayload};
use super::catalog::Catalog;
use super::definition::Saga;
use super::input::{Command, Confirmation, Event};
use super::order::{Digest, OrderKey};
use super::time::Moment;

/// One thing a batch has to deal with.
#[derive(Clone, Debug)]
pub enum Work {
    Delivered(Delivered),
    /// A message that could not be read; with `doubt`, it may have been what an order waits for.
    Unreadable {
        message: Box<Quarantined>,
        doubt: bool,
    },
    /// The watermark of the order's saga has passed this moment.
    Due(OrderKey, Moment),
    /// The word on an outbox row; for a telling the order need not be touched.
    Settled {
        order: OrderKey,
        confirmation: Confirmation,
        is_input: bool,
    },
    Command(OrderKey, Box<Command>),
    /// A doubt about this order may have gone.
    Reconsider(OrderKey),
    /// A quarantined message is dealt with.
    Resolved(Resolved),
    /// Something may have been missed.
    Doubt(NewDoubt),
}

/// One delivery, as the sagas that watch its exchange read it.
#[derive(Clone, Debug)]
pub struct Delivered {
    /// One for each saga that names the event.
    pub arrivals: Vec<Arrival>,
    pub redelivered: bool,
    /// Hash of place and content: what stands for the id of a message without one.
    pub content_hash: Digest,
    /// For quarantine, should it find no place.
    pub message: Arc<RawMessage>,
}

/// A message as it came.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RawMessage {
    pub exchange: String,
    pub routing_key: String,
    pub envelope: Value,
    /// Cut to what is kept.
    pub body: Vec<u8>,
    pub body_bytes: u64,
}

/// One delivery for one saga.
#[derive(Clone, Debug)]
pub struct Arrival {
    pub saga: String,
    /// As each version reads it, newest first; versions that do not name it are missing.
    pub candidates: Vec<Candidate>,
}

/// A delivery as one version reads it.
#[derive(Clone, Debug)]
pub struct Candidate {
    pub version: u32,
    pub place: OrderRef,
    pub event: Event,
}

/// Which order a message belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OrderRef {
    Id(String),
    /// By the order of arrival (rule 5).
    Arrival,
}

/// Reads a stored message back as expressions see it, `{"body": …, "headers": …}`, by the event's name.
pub type ReadStored = fn(&Saga, &str, &StoredPayload) -> Option<Value>;

/// What decides beside what was loaded.
#[derive(Clone, Debug)]
pub struct Plan {
    pub catalog: Arc<Catalog>,
    pub work: Vec<Work>,
    /// How many more orders of a saga may turn back by timeout before the brake holds (rule 14); missing means no brake.
    pub brakes: BTreeMap<String, u32>,
    /// The batch came from this tap, up to this canary.
    pub tap: Option<(String, Option<Moment>)>,
    /// Names this very batch: found in what the tap's last batch left behind, it says that the batch is applied already and only
    /// the answer to its commit was lost.
    pub token: Option<Digest>,
    pub idempotency_key: Option<String>,
    pub read_stored: ReadStored,
}

/// Open orders of a saga placed by arrival that are loaded beside one for each of its messages: how far behind the
/// oldest an order may be and still be found when those before it wait for something else.
const LINE_MARGIN: usize = 200;

impl Plan {
    /// What to load for this batch.
    pub fn lookup(&self) -> Lookup {
        let mut lookup = Lookup {
            tap: self.tap.as_ref().map(|(name, _)| name.clone()),
            idempotency_key: self.idempotency_key.clone(),
            ..Lookup::default()
        };
        for work in &self.work {
            match work {
                Work::Delivered(delivered) => Self::look_up_delivered(delivered, &mut lookup),
                Work::Due(key, _) | Work::Command(key, _) | Work::Reconsider(key) => {
                    lookup.orders.insert(key.clone());
                }
                Work::Settled { order, is_input, .. } => {
                    if *is_input {
                        lookup.orders.insert(order.clone());
                    }
                }
                Work::Unreadable { .. } | Work::Resolved(_) | Work::Doubt(_) => {}
            }
        }
        let sagas: Vec<String> = lookup.orders.iter().map(|key| key.saga.clone()).collect();
        for saga in sagas.into_iter().chain(lookup.arrivals.keys().cloned()) {
            if self.catalog.versions(&saga).any(|version| version.reads_stored_events()) {
                lookup.sagas_reading_events.insert(saga);
            }
        }
        lookup
    }

    fn look_up_delivered(delivered: &Delivered, lookup: &mut Lookup) {
        for arrival in &delivered.arrivals {
            for candidate in &arrival.candidates {
                match &candidate.place {
                    OrderRef::Id(order_id) => {
                        lookup.orders.insert(OrderKey { saga: arrival.saga.clone(), order_id: order_id.clone() });
                    }
                    OrderRef::Arrival => {
                        *lookup.arrivals.entry(arrival.saga.clone()).or_insert(LINE_MARGIN) += 1;
                    }
                }
            }
        }
    }

    /// Decides the whole batch.
    pub fn decide(&self, loaded: &Loaded) -> Changes {
        let mut deciding = Deciding::new(self, loaded);
        if let Some(sequence) = loaded.answered {
            return Changes { answers: vec![Ok(sequence)], ..Changes::default() };
        }
        if self.token.is_some_and(|token| loaded.last_batch.contains(&token)) {
            deciding.is_applied_already();
            return deciding.finish();
        }
        for work in &self.work {
            deciding.work(work);
        }
        deciding.finish()
    }
}
