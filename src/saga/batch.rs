//! What a batch needs and what it changes: the two values that cross the store seam.
//!
//! ```text
//!   Lookup ──store loads──▶ Loaded ──decide (pure)──▶ Changes ──store saves, one transaction──▶ committed
//! ```
//!
//! The store may load and decide again after a conflict, so deciding must depend on `Loaded` alone.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::Value;
use uuid::Uuid;

use super::brake::SagaState;
use super::coverage::Coverage;
use super::definition::Mode;
use super::input::{Misfit, Payload, Verdict};
use super::journal::Entry;
use super::migration::MigrationAnswer;
use super::order::{Digest, Doubt, DoubtKind, Order, OrderKey};
use super::outgoing::Outgoing;
use super::time::{Moment, Span};

/// What to load and lock.
#[derive(Clone, Debug, Default)]
pub struct Lookup {
    /// These orders, if they exist. Their rows are locked, in key order.
    pub orders: BTreeSet<OrderKey>,
    /// Sagas placed by arrival: also load (and lock) up to this many of their open orders, oldest first, with the counter.
    pub arrivals: BTreeMap<String, usize>,
    /// Sagas of which orders may turn back by timeout: lock and load what their replicas share, after the orders, by name.
    pub states: BTreeSet<String>,
    /// Sagas whose expressions read stored events: load the payloads their orders' steps name.
    pub sagas_reading_events: BTreeSet<String>,
    /// Load what this tap's last batch left behind.
    pub tap: Option<String>,
    /// Load what a command with this key became, if it was given before.
    pub idempotency_key: Option<String>,
}

/// What was loaded, under lock.
#[derive(Clone, Debug, Default)]
pub struct Loaded {
    /// By the database's clock, read after the locks were taken.
    pub now: Moment,
    pub orders: BTreeMap<OrderKey, Order>,
    /// Orders whose row cannot be read, with the reason: nothing may be applied to them.
    pub corrupt: BTreeMap<OrderKey, String>,
    /// The open orders of each saga placed by arrival, oldest first; all of them are in `orders`.
    pub lines: BTreeMap<String, Vec<OrderKey>>,
    /// The last number given to an order of a saga placed by arrival.
    pub counters: BTreeMap<String, u64>,
    /// The brake of each saga asked for (rule 14), and where its own trail ends.
    pub states: BTreeMap<String, SagaState>,
    /// Stored messages by journal sequence, for expressions. Missing where one was erased.
    pub stored_events: BTreeMap<(OrderKey, u64), StoredPayload>,
    /// Hashes of the messages without an id in the tap's last committed batch (rule 2).
    pub last_batch: Vec<Digest>,
    /// The tap's watermark.
    pub watermark: Option<Moment>,
    /// When the tap's last batch was committed.
    pub committed_at: Option<Moment>,
    /// Those that may concern the loaded orders; of doubts alike (kind, saga, event, order) one, from the first to the last.
    pub doubts: Vec<Doubt>,
    /// The mode of each saga that has one stored.
    pub modes: BTreeMap<String, Mode>,
    /// What the command with the looked-up key became.
    pub answered: Option<u64>,
}

/// What a batch changes. Saved in one transaction, or not at all.
#[derive(Clone, Debug, Default)]
pub struct Changes {
    pub orders: Vec<SavedOrder>,
    pub payloads: Vec<SavedPayload>,
    pub outbox: Vec<Outgoing>,
    /// Orders whose unsent retries and compensations are not to be sent any more.
    pub withdrawn: Vec<OrderKey>,
    /// Outbox rows that are settled.
    pub settled: Vec<(Uuid, Verdict)>,
    pub quarantined: Vec<Quarantined>,
    pub doubts: Vec<NewDoubt>,
    /// Quarantined messages that found their place or were dropped, with who did it and why.
    pub resolved: Vec<Resolved>,
    pub counters: BTreeMap<String, u64>,
    /// The events met, named or not.
    pub coverage: Arc<Coverage>,
    pub tap: Option<TapProgress>,
    /// The key under which the first answer is remembered.
    pub idempotency_key: Option<String>,
    /// One for each command of the batch: the journal sequence it became, or why it did not fit.
    pub answers: Vec<Result<u64, Misfit>>,
    /// One for each migration of the batch.
    pub migrations: Vec<MigrationAnswer>,
    /// Sagas of which orders turned back by timeout or were held.
    pub states: Vec<SavedState>,
    /// Nothing was decided: an order is on this version, which the catalog does not have.
    pub unknown_version: Option<(String, u32)>,
    /// Nothing was decided: a delivery that must reach an order does not, and why.
    pub misplaced: Option<String>,
    /// For each order a deadline fired of, how long after.
    pub fire_delays: Vec<Span>,
    pub tally: Tally,
}

/// An order as it is now, with the journal entries that brought it here.
#[derive(Clone, Debug)]
pub struct SavedOrder {
    pub order: Order,
    /// The steps' names, in the definition's order: stores index what is waited on by name.
    pub step_names: Arc<[String]>,
    /// Empty when only the count of duplicates changed.
    pub entries: Vec<Sealed>,
    pub is_new: bool,
    /// Whether attribute values changed: stores keep an index of them.
    pub attributes_changed: bool,
}

/// What is shared about a saga as it is now, with the entries of its own trail that brought it here.
#[derive(Clone, Debug, PartialEq)]
pub struct SavedState {
    pub saga: String,
    pub state: SagaState,
    pub entries: Vec<Sealed>,
}

/// A journal entry in the form it is stored and hashed in.
#[derive(Clone, Debug, PartialEq)]
pub struct Sealed {
    pub entry: Entry,
    /// `entry.body` as JSON text; the hash covers exactly these bytes.
    pub text: String,
    pub hash: Digest,
}

/// The content of the message of one journal entry.
#[derive(Clone, Debug)]
pub struct SavedPayload {
    pub order: OrderKey,
    pub sequence: u64,
    pub payload: Arc<Payload>,
}

/// The content of a stored message.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredPayload {
    pub salt: [u8; 16],
    pub body: Option<Vec<u8>>,
    pub body_hash: [u8; 32],
    /// Headers and properties as the bus seam wrote them.
    pub envelope: Value,
    /// Where it was published.
    pub exchange: String,
    pub routing_key: String,
    pub message_id: String,
}

/// A message that could not be read or placed.
#[derive(Clone, Debug, PartialEq)]
pub struct Quarantined {
    pub reason: QuarantineReason,
    /// What exactly was wrong, for a person.
    pub detail: String,
    pub saga: Option<String>,
    pub event: Option<String>,
    pub order_id: Option<String>,
    pub exchange: String,
    pub routing_key: String,
    /// Headers and properties, in the form the bus seam writes and reads.
    pub envelope: Value,
    /// The body, cut to what is kept.
    pub body: Vec<u8>,
    pub body_bytes: u64,
}

/// Why a message is in quarantine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum QuarantineReason {
    /// The body is not what the definition reads.
    Unreadable,
    /// The definition's event selectors found nothing.
    NoEvent,
    /// The event has no order id.
    NoOrderId,
    /// The order id is empty, too long, or no text or whole number.
    BadOrderId,
    /// The event name is empty or too long.
    BadEvent,
    /// A condition or selector failed on it.
    ConditionFailed,
    /// An answer nobody waits for, placed by arrival.
    Unplaced,
    /// The order's row cannot be read.
    CorruptOrder,
    /// The database refuses it.
    Refused,
}

impl QuarantineReason {
    /// Every reason.
    pub const ALL: [Self; 9] = [
        Self::Unreadable,
        Self::NoEvent,
        Self::NoOrderId,
        Self::BadOrderId,
        Self::BadEvent,
        Self::ConditionFailed,
        Self::Unplaced,
        Self::CorruptOrder,
        Self::Refused,
    ];

    /// The word used everywhere.
    pub fn word(self) -> &'static str {
        match self {
            Self::Unreadable => "unreadable",
            Self::NoEvent => "no_event",
            Self::NoOrderId => "no_order_id",
            Self::BadOrderId => "bad_order_id",
            Self::BadEvent => "bad_event",
            Self::ConditionFailed => "condition_failed",
            Self::Unplaced => "unplaced",
            Self::CorruptOrder => "corrupt_order",
            Self::Refused => "refused",
        }
    }
}

/// A doubt to be recorded (rule 8).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewDoubt {
    pub kind: DoubtKind,
    pub saga: Option<String>,
    pub from: Moment,
    pub to: Moment,
    pub event: Option<String>,
    pub order_id: Option<String>,
    /// What happened, for a person.
    pub detail: String,
    /// The place in `Changes::quarantined` it is about: it goes when that message is replayed or dropped.
    pub quarantined: Option<usize>,
}

/// What a person is told about a database that was set back.
const LOST_COMMITS: &str =
    "the database was set back to an earlier state (restore, or failover to a standby that was behind)";

impl NewDoubt {
    /// The database lost commits: a gap from the stored watermark to now.
    pub fn lost_commits(stored: Option<Moment>, now: Moment) -> Self {
        Self {
            kind: DoubtKind::Gap,
            saga: None,
            from: stored.unwrap_or(Moment(0)),
            to: now,
            event: None,
            order_id: None,
            detail: LOST_COMMITS.to_owned(),
            quarantined: None,
        }
    }

    /// Whether it says that the database lost commits.
    pub fn is_lost_commits(&self) -> bool {
        self.detail == LOST_COMMITS
    }
}

/// A quarantined message that was dealt with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    pub id: i64,
    /// `replayed` or `dropped`.
    pub how: &'static str,
    pub actor: String,
    pub reason: String,
}

/// What a batch says about its tap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TapProgress {
    pub name: String,
    /// A canary came back: everything enqueued before this moment is applied.
    pub watermark: Option<Moment>,
    /// Hashes of this batch's messages without an id; replaces those of the batch before.
    pub last_batch: Vec<Digest>,
}

/// Outcomes of a batch, for metrics: each (delivery, saga) has exactly one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub applied: u64,
    pub duplicate: u64,
    pub ignored: u64,
    pub late: u64,
    pub quarantined: u64,
    pub deadlines_fired: u64,
    /// The same outcomes by saga; an empty name where a message could not be read so far.
    pub by_saga: BTreeMap<(String, Outcome), u64>,
}

/// What became of a delivery for one saga.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    Applied,
    Duplicate,
    Ignored,
    Late,
    Quarantined,
}

impl Outcome {
    /// Every outcome.
    pub const ALL: [Self; 5] = [Self::Applied, Self::Duplicate, Self::Ignored, Self::Late, Self::Quarantined];

    /// The word used everywhere.
    pub fn word(self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::Duplicate => "duplicate",
            Self::Ignored => "ignored",
            Self::Late => "late",
            Self::Quarantined => "quarantined",
        }
    }
}

impl Tally {
    /// One more delivery of a saga came to this.
    pub fn count(&mut self, saga: Option<&str>, outcome: Outcome) {
        self.add(saga, outcome, 1);
    }

    /// So many more deliveries of a saga came to this.
    pub fn add(&mut self, saga: Option<&str>, outcome: Outcome, count: u64) {
        match outcome {
            Outcome::Applied => self.applied += count,
            Outcome::Duplicate => self.duplicate += count,
            Outcome::Ignored => self.ignored += count,
            Outcome::Late => self.late += count,
            Outcome::Quarantined => self.quarantined += count,
        }
        *self.by_saga.entry((saga.unwrap_or_default().to_owned(), outcome)).or_default() += count;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_outcome_is_counted_under_its_word_in_all_and_for_its_saga() {
        let mut tally = Tally::default();
        for (times, outcome) in Outcome::ALL.into_iter().enumerate() {
            for _ in 0..=times {
                tally.count(Some("order"), outcome);
            }
        }
        tally.count(None, Outcome::Quarantined);
        let all = [tally.applied, tally.duplicate, tally.ignored, tally.late, tally.quarantined];
        assert_eq!(all, [1, 2, 3, 4, 6]);
        let by_saga = tally.by_saga.iter().map(|((saga, outcome), count)| (saga.as_str(), outcome.word(), *count));
        assert_eq!(
            by_saga.collect::<Vec<_>>(),
            [
                ("", "quarantined", 1),
                ("order", "applied", 1),
                ("order", "duplicate", 2),
                ("order", "ignored", 3),
                ("order", "late", 4),
                ("order", "quarantined", 5)
            ]
        );
    }
}
