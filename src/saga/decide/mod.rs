//! What a batch comes to: finds the order each input belongs to and runs the machine, one input after the other.
//!
//! Pure, and a function of its arguments alone: the store may ask again after a conflict. How a batch is split changes
//! nothing but the moments written down. One order's trouble (an unreadable row, a command that does not fit) stays its
//! own.

mod deciding;
mod migrating;
mod parts;
mod placing;

use std::sync::Arc;

use serde_json::Value;

use self::deciding::Deciding;
pub use self::parts::token_of;
use super::batch::{
    Changes, Loaded, Lookup, NewDoubt, Outcome, QuarantineReason, Quarantined, Resolved, StoredPayload,
};
use super::catalog::Catalog;
use super::coverage::Coverage;
use super::definition::{BrakeLimit, OnTimeout, Saga};
use super::input::{Command, Confirmation, Event, Payload};
use super::migration::Migration;
use super::order::{Digest, Order, OrderKey};
use super::time::Moment;

/// One thing a batch has to deal with.
#[derive(Clone, Debug)]
pub enum Work {
    Delivered(Delivered),
    /// A message nothing can be done about but keep.
    Unreadable(Unread),
    /// The watermark of the order's saga has passed this moment.
    Due(OrderKey, Moment),
    /// The word on an outbox row; for a telling the order need not be touched.
    Settled {
        order: OrderKey,
        confirmation: Confirmation,
        is_input: bool,
    },
    Command(OrderKey, Box<Command>),
    /// A person moves the order to another version of its definition.
    Migrate(OrderKey, Arc<Migration>),
    /// A doubt about this order may have gone.
    Reconsider(OrderKey),
    /// A quarantined message is dealt with.
    Resolved(Resolved),
    /// Something may have been missed.
    Doubt(NewDoubt),
}

impl Work {
    /// The delivery among the kinds of work.
    pub fn delivered(&self) -> Option<&Delivered> {
        match self {
            Self::Delivered(delivered) => Some(delivered),
            Self::Unreadable(_)
            | Self::Due(..)
            | Self::Settled { .. }
            | Self::Command(..)
            | Self::Migrate(..)
            | Self::Reconsider(_)
            | Self::Resolved(_)
            | Self::Doubt(_) => None,
        }
    }
}

/// One delivery, as the sagas that watch its exchange read it.
#[derive(Clone, Debug)]
pub struct Delivered {
    /// One for each saga that names the event.
    pub arrivals: Vec<Arrival>,
    pub redelivered: bool,
    /// Hash of place and content: what stands for the id of a message without one (rule 2). `None` where every saga finds one.
    pub content_hash: Option<Digest>,
    /// For quarantine, should it find no place.
    pub message: Arc<RawMessage>,
}

/// A message as it came: what quarantine keeps of it.
#[derive(Clone, Debug, PartialEq)]
pub struct RawMessage {
    pub exchange: String,
    pub routing_key: String,
    /// Its content, shared with the events it was read as.
    pub payload: Arc<Payload>,
    /// The beginning of a body that is too large to be kept whole.
    pub cut: Vec<u8>,
    pub body_bytes: u64,
}

impl RawMessage {
    /// The message in quarantine.
    pub fn quarantined(&self, reason: QuarantineReason, detail: String) -> Quarantined {
        Quarantined {
            reason,
            detail,
            saga: None,
            event: None,
            order_id: None,
            exchange: self.exchange.clone(),
            routing_key: self.routing_key.clone(),
            envelope: self.payload.envelope_value(),
            body: self.payload.body.clone().unwrap_or_else(|| self.cut.clone()),
            body_bytes: self.body_bytes,
        }
    }
}

/// One delivery for one saga.
#[derive(Clone, Debug)]
pub struct Arrival {
    pub saga: String,
    /// As each version reads it, newest first; versions that do not name it are missing.
    pub candidates: Vec<Candidate>,
    /// Why the newest version cannot read it, where it cannot; unless another takes it, it is quarantined.
    pub unread: Option<Unread>,
}

/// What is kept of a delivery a saga cannot read.
#[derive(Clone, Debug)]
pub struct Unread {
    pub message: Box<Quarantined>,
    /// It may have been what an order waits for.
    pub doubt: bool,
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
    /// `None` for what comes from no tap.
    pub tap: Option<FromTap>,
    /// Names this very batch: found in what the tap's last batch left behind, it says that the batch is applied already and only
    /// the answer to its commit was lost.
    pub token: Option<Digest>,
    pub idempotency_key: Option<String>,
    /// The events met in this batch.
    pub coverage: Arc<Coverage>,
    /// Decide nothing where an order is on a version the catalog does not have: another replica may follow it already.
    pub needs_versions: bool,
    /// Decide nothing unless each delivery reaches its order: what a person sends again must not get lost on the way.
    pub must_apply: bool,
    pub read_stored: ReadStored,
}

/// What a batch is to the tap it came from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FromTap {
    pub name: String,
    /// Everything enqueued before this moment is in this batch or was in one before.
    pub watermark: Option<Moment>,
    /// Something in it is delivered for the first time. What was delivered before and not acknowledged comes first, so the batch
    /// before cannot come again after this one.
    pub is_fresh: bool,
    /// Hashes of the messages without an id in those parts of this very batch that are committed already.
    pub before: Vec<Digest>,
    /// When this replica last committed a batch of it. A database that has forgotten that was set back.
    pub committed_at: Option<Moment>,
}

/// Open orders of a saga placed by arrival that are loaded beside one for each of its messages: how far behind the
/// oldest an order may be and still be found when those before it wait for something else.
const LINE_MARGIN: usize = 200;

impl Arrival {
    /// Whether the message is told apart by its content alone (rule 2): where the saga finds no id in it, or cannot read it.
    pub fn is_without_id(&self) -> bool {
        let without =
            |candidate: &Candidate| candidate.event.identity.is_none() || candidate.place == OrderRef::Arrival;
        self.unread.is_some() || self.candidates.iter().any(without)
    }
}

impl Plan {
    /// A plan for `work` that is of no tap, and of nothing else.
    pub fn of(catalog: Arc<Catalog>, work: Vec<Work>, read_stored: ReadStored) -> Self {
        Self {
            catalog,
            work,
            tap: None,
            token: None,
            idempotency_key: None,
            coverage: Arc::default(),
            needs_versions: false,
            must_apply: false,
            read_stored,
        }
    }

    /// What to load for this batch.
    pub fn lookup(&self) -> Lookup {
        let mut lookup = Lookup {
            tap: self.tap.as_ref().map(|tap| tap.name.clone()),
            idempotency_key: self.idempotency_key.clone(),
            ..Lookup::default()
        };
        for work in &self.work {
            match work {
                Work::Delivered(delivered) => Self::look_up_delivered(delivered, &mut lookup),
                Work::Due(key, _) => {
                    if !lookup.states.contains(&key.saga) && self.may_be_held(&key.saga) {
                        lookup.states.insert(key.saga.clone());
                    }
                    lookup.orders.insert(key.clone());
                }
                Work::Command(key, _) | Work::Migrate(key, _) | Work::Reconsider(key) => {
                    lookup.orders.insert(key.clone());
                }
                Work::Settled { order, is_input, .. } => {
                    if *is_input {
                        lookup.orders.insert(order.clone());
                    }
                }
                Work::Unreadable(_) | Work::Resolved(_) | Work::Doubt(_) => {}
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

    /// Whether a deadline of the saga may meet its brake. Nothing but a deadline turns an order back by timeout, so nothing else
    /// waits for the brake's row.
    fn may_be_held(&self, saga: &str) -> bool {
        let turns = |version: &Saga| version.steps.iter().any(|step| step.on_timeout == OnTimeout::Compensate);
        self.brake_of(saga).is_some() && self.catalog.versions(saga).any(|version| turns(version))
    }

    /// The limit of the saga's brake: the newest version says it, for the orders of all.
    fn brake_of(&self, saga: &str) -> Option<BrakeLimit> {
        self.catalog.newest(saga)?.brake
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
        let is_forgotten = crate::faults::is_planted(crate::faults::Bug::TokenForgotten);
        if self.token.is_some_and(|token| loaded.last_batch.contains(&token) && !is_forgotten) {
            deciding.is_applied_already();
            return deciding.finish();
        }
        if let Some(unknown) = self.unknown_version(loaded) {
            return Changes { unknown_version: Some(unknown), ..Changes::default() };
        }
        if self.tap.as_ref().is_some_and(|tap| loaded.committed_at < tap.committed_at) {
            // First: no other piece of this batch may be decided as if nothing were missing.
            deciding.work(&Work::Doubt(NewDoubt::lost_commits(loaded.watermark, loaded.now)));
        }
        for work in &self.work {
            deciding.work(work);
        }
        let mut changes = deciding.finish();
        changes.coverage = Arc::clone(&self.coverage);
        if self.must_apply && changes.tally.ignored + changes.tally.quarantined > 0 {
            let again = changes.quarantined.first().map(|it| it.detail.clone());
            let why = again.unwrap_or_else(|| "the version its order is on does not read it".to_owned());
            return Changes { misplaced: Some(why), ..Changes::default() };
        }
        for (saga, count) in self.coverage.ignored() {
            changes.tally.add(Some(saga), Outcome::Ignored, count);
        }
        changes
    }

    /// A version that an order of the batch is on, and the catalog does not have.
    fn unknown_version(&self, loaded: &Loaded) -> Option<(String, u32)> {
        let is_unknown = |order: &&Order| self.catalog.version(&order.key.saga, order.version).is_none();
        let order = loaded.orders.values().find(is_unknown).filter(|_| self.needs_versions)?;
        Some((order.key.saga.clone(), order.version))
    }
}
