//! What people and the loops ask the store with, and what it answers: filters, pages, and rows as they are read.

use serde_json::Value;

use crate::saga::incident::IncidentStatus;
use crate::saga::journal::Kind;
use crate::saga::order::{OrderKey, Status, StuckReason};
use crate::saga::time::{Moment, Span};

/// Which orders.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct OrderFilter {
    pub order_id: Option<String>,
    /// Only these, where any are named; not beside `order_id`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub named: Vec<NamedOrder>,
    pub sagas: Vec<String>,
    pub statuses: Vec<Status>,
    pub waiting_on: Vec<String>,
    /// One of its needs has one of these reasons; together with `stuck_step`, its first need.
    pub reasons: Vec<StuckReason>,
    /// The oldest wait is older than this.
    pub older_than: Option<Span>,
    pub attributes: Vec<(String, String)>,
    /// Step of the first need; used by incidents.
    pub stuck_step: Option<String>,
}

/// An order named by a person.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub struct NamedOrder {
    pub order_id: String,
    /// `None`: of every saga.
    pub saga: Option<String>,
}

/// Which part of a list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    pub limit: usize,
    /// As the page before gave it.
    pub cursor: Option<String>,
}

/// One page.
#[derive(Clone, Debug)]
pub struct Listed<T> {
    pub items: Vec<T>,
    pub next_cursor: Option<String>,
}

/// A stored journal entry.
#[derive(Clone, Debug, PartialEq)]
pub struct JournalRow {
    /// Position in this store, for following.
    pub position: i64,
    pub key: OrderKey,
    pub sequence: u64,
    pub at: Moment,
    pub kind: Kind,
    pub actor: Option<String>,
    /// The JSON text the hash covers.
    pub text: String,
    pub hash: [u8; 32],
    /// The definition version whose steps it numbers.
    pub version: u32,
}

/// Which journal entries.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct JournalFilter {
    pub saga: Option<String>,
    pub kinds: Vec<Kind>,
    pub actor: Option<String>,
    pub since: Option<Moment>,
    pub until: Option<Moment>,
}

/// Which quarantined messages; resolved ones only when asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QuarantineFilter {
    pub saga: Option<String>,
    pub reason: Option<String>,
    pub exchange: Option<String>,
    pub resolved: bool,
}

/// A quarantined message.
#[derive(Clone, Debug, PartialEq)]
pub struct QuarantineRow {
    pub id: i64,
    pub at: Moment,
    pub reason: String,
    pub detail: String,
    pub saga: Option<String>,
    pub event: Option<String>,
    pub order_id: Option<String>,
    pub exchange: String,
    pub routing_key: String,
    pub envelope: Value,
    pub body: Vec<u8>,
    pub body_bytes: u64,
    /// `replayed` or `dropped`, once it was.
    pub resolved: Option<String>,
    pub resolved_by: Option<String>,
    pub resolved_reason: Option<String>,
}

/// How many orders of a saga are in a status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatusCount {
    pub saga: String,
    pub status: Status,
    pub count: u64,
}

/// Orders stuck on the same thing.
#[derive(Clone, Debug, PartialEq)]
pub struct StuckGroup {
    pub saga: String,
    pub step: Option<String>,
    pub reason: StuckReason,
    pub count: u64,
    pub first_at: Moment,
    pub last_at: Moment,
    pub samples: Vec<String>,
}

/// Which incidents.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IncidentFilter {
    /// `None`: whatever their status.
    pub status: Option<IncidentStatus>,
    pub saga: Option<String>,
    pub cause: Option<String>,
}

/// What came into quarantine lately and is still there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuarantineGrowth {
    /// Empty where the messages are of no saga.
    pub saga: String,
    pub messages: u64,
    pub first_at: Moment,
    pub last_at: Moment,
}

/// How long a step usually takes (only steps applied live count), and how it ends.
#[derive(Clone, Debug, PartialEq)]
pub struct StepStats {
    pub saga: String,
    pub version: u32,
    pub step: String,
    /// Steps that ended, however they did.
    pub closed: u64,
    /// Of these, given up because no answer came in time; also where one came later.
    pub timed_out: u64,
    /// Steps measured. With too few of them the percentiles are zero and say nothing.
    pub samples: u64,
    pub p50: Span,
    pub p95: Span,
    pub p99: Span,
}

/// What waits for services or people, counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OpenCounts {
    pub waiting: Vec<WaitingCount>,
    /// Messages in quarantine by the word of the reason.
    pub quarantine: Vec<(String, u64)>,
}

/// How many orders wait for a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WaitingCount {
    pub saga: String,
    pub step: String,
    pub count: u64,
}

/// The connections of this process to the database.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Connections {
    pub in_use: u64,
    pub idle: u64,
}

/// What waits in the outbox.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backlog {
    pub rows: u64,
    pub oldest_at: Option<Moment>,
}
