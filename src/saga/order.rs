//! Where one order stands: a plain value without verbs.
//!
//! The machine works on a copy; the journal keeps, for every input, the part of the copy that changed, as it was
//! afterwards. So folding the journal ([`super::journal::fold`]) rebuilds exactly this value and decides nothing again.
//! Message bodies are not here: the order names the journal entry that carries one, and attribute values live in the
//! order's own row, so both can be erased without touching the trail.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use super::definition::{Mode, StepIx};
pub use super::status::{Status, StepStatus, StuckReason};
use super::time::Moment;

/// What names an order.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct OrderKey {
    pub saga: String,
    pub order_id: String,
}

impl std::fmt::Display for OrderKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.saga, self.order_id)
    }
}

/// 16 bytes of SHA-256: enough to tell the messages of one order apart.
pub type Identity = [u8; 16];

/// A whole SHA-256.
pub type Digest = [u8; 32];

/// One order.
#[derive(Clone, Debug, PartialEq)]
pub struct Order {
    pub key: OrderKey,
    /// The definition version it is on: the one it began with, until a person moves it.
    pub version: u32,
    /// The versions it was on before, in the order of time.
    pub earlier: Vec<Earlier>,
    pub created_at: Moment,
    pub updated_at: Moment,
    /// Sequence of its last journal entry; the first is 1, and 0 is an order that has none yet.
    pub sequence: u64,
    /// Hash of its last journal entry.
    pub head: Digest,
    pub life: Life,
    /// One for each step of the definition, in its order.
    pub steps: Vec<StepState>,
    pub attributes: BTreeMap<String, Attribute>,
    /// Identities of the messages already applied (rule 2).
    pub seen: Vec<Identity>,
    /// Duplicates are counted, not journaled.
    pub duplicates: u64,
}

/// A version an order was on before it was moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Earlier {
    pub version: u32,
    /// Its last journal entry then: entries up to it number the steps of that version.
    pub until: u64,
}

/// The version whose steps the journal entry `sequence` numbers, of an order that is on `version` now.
pub fn version_at(version: u32, earlier: &[Earlier], sequence: u64) -> u32 {
    earlier.iter().find(|was| sequence <= was.until).map_or(version, |was| was.version)
}

/// What concerns the order as a whole.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Life {
    pub status: Status,
    /// When the order is overdue as a whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Moment>,
    /// Why and how far it turned back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub turn: Option<Turn>,
    /// What needs a person. Non-empty exactly while the status is `stuck`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub needs: Vec<Need>,
    /// `cancelled_by` was seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cancelled: Option<Sighting>,
    /// An event was placed by the order of arrival (rule 5).
    #[serde(default, skip_serializing_if = "is_false")]
    pub inferred: bool,
    /// It was completed once and runs again (rule 3).
    #[serde(default, skip_serializing_if = "is_false")]
    pub reopened: bool,
    /// Why it was closed without a person, where it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closed_because: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Moment>,
}

/// The way back of an order (rules 7, 11).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Turn {
    pub cause: Cause,
    pub phase: TurnPhase,
    /// A person answered for it: doubt and brake do not hold it any more.
    #[serde(default, skip_serializing_if = "is_false")]
    pub vouched: bool,
    /// What compensations are told as `reason`.
    pub reason: String,
}

/// What turned the order back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    Failed(StepIx),
    TimedOut(StepIx),
    Cancelled,
    Command,
}

/// How far a turning back is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TurnPhase {
    /// A deadline due at once: decided when the watermark has passed it.
    Due(Moment),
    /// Decided against acting; the order's needs say why.
    Withheld,
    /// The order is on its way back.
    Turned(Moment),
}

/// Something only a person can resolve.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Need {
    pub reason: StuckReason,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<StepIx>,
    pub since: Moment,
    /// What failed, in words, where the reason alone does not say it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// Where one step of one order stands.
#[expect(clippy::struct_excessive_bools, reason = "independent facts about a step, shown one by one")]
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StepState {
    pub status: StepStatus,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub opened_at: Option<Moment>,
    /// When the next thing happens to this step: its deadline, its next retry, or the deadline of its compensation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Moment>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closed_at: Option<Moment>,
    /// The event that closed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<Sighting>,
    /// A failure seen: kept while the step is pending, and the reason while it is failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Sighting>,
    /// The event that triggered a conditional step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trigger: Option<Sighting>,
    /// Journal sequence of the message a retry re-sends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub opened_by: Option<u64>,
    /// Retries sent or withheld.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub attempts: u32,
    /// The outbox row whose confirmation this step waits for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub awaiting: Option<Uuid>,
    /// Closed before it opened.
    #[serde(default, skip_serializing_if = "is_false")]
    pub early: bool,
    /// Closed after Escrow had given it up.
    #[serde(default, skip_serializing_if = "is_false")]
    pub late: bool,
    /// Closed by an event placed by arrival.
    #[serde(default, skip_serializing_if = "is_false")]
    pub inferred: bool,
    /// Opened and closed while the tap was read within a second: its duration counts in the statistics.
    #[serde(default, skip_serializing_if = "is_false")]
    pub live: bool,
    /// Its retries or its turning back were withheld in doubt: it waits again when the doubt goes.
    #[serde(default, skip_serializing_if = "is_false")]
    pub withheld: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skipped: Option<Skipped>,
    /// How many different events are needed, once known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected: Option<u64>,
    /// What told the counted events apart, with the journal sequence of each.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub parts: BTreeMap<String, u64>,
    #[serde(default, skip_serializing_if = "Undo::is_untouched")]
    pub undo: Undo,
}

/// Why a step was skipped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Skipped {
    /// Its `if` was false.
    Condition,
    /// It timed out under `on_timeout: skip`; it may have happened.
    Timeout,
    Person,
}

/// The undoing of one step, in rounds (rule 12).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Undo {
    /// How many `done` events of the step were seen.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub dones: u32,
    /// How many of them are undone, or need no undoing.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub covered: u32,
    /// The round last begun, from 1.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub round: u32,
    /// Sendings of the open round.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub attempts: u32,
    /// The definition leaves the late effect as it is.
    #[serde(default, skip_serializing_if = "is_false")]
    pub ignored: bool,
    /// When the broker confirmed the last sending.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirmed_at: Option<Moment>,
}

impl Undo {
    fn is_untouched(&self) -> bool {
        *self == Self::default()
    }
}

/// An event as the order remembers it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sighting {
    /// Its journal entry, which carries the message.
    pub sequence: u64,
    pub name: String,
    pub at: Moment,
}

/// A searchable field of an order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attribute {
    pub value: Value,
    /// Journal sequence of the event it came from.
    pub sequence: u64,
    /// The rank of its source; a lower one replaces it (the root's event is 0).
    pub rank: u32,
}

/// Where an attribute's value comes from, as a number: 0 is a root's event, then the steps in the order of the file.
pub mod rank {
    use super::StepIx;

    /// The step it came from is not in the version the order is on now: every other source comes before it.
    pub const GONE: u32 = u32::MAX;

    /// The rank of what a step's event says.
    pub fn of_step(step: StepIx) -> u32 {
        u32::try_from(step).map_or(GONE - 1, |step| step.saturating_add(1).min(GONE - 1))
    }

    /// The step a value of this rank came from; `None` for a root, or where that step is gone.
    pub fn step(rank: u32) -> Option<StepIx> {
        rank.checked_sub(1).filter(|_| rank != GONE).map(|step| step as StepIx)
    }
}

impl Order {
    /// An order that has begun and seen nothing yet.
    pub fn begin(key: OrderKey, version: u32, steps: usize, now: Moment) -> Self {
        Self {
            key,
            version,
            earlier: Vec::new(),
            created_at: now,
            updated_at: now,
            sequence: 0,
            head: [0; 32],
            life: Life::default(),
            steps: vec![StepState::default(); steps],
            attributes: BTreeMap::new(),
            seen: Vec::new(),
            duplicates: 0,
        }
    }

    /// The earliest armed deadline: of the turning back, a step, or the whole order.
    pub fn next_due(&self) -> Option<Moment> {
        let turn = self.life.turn.as_ref().and_then(|turn| match turn.phase {
            TurnPhase::Due(at) => Some(at),
            TurnPhase::Withheld | TurnPhase::Turned(_) => None,
        });
        self.steps.iter().filter_map(|step| step.deadline).chain(turn).chain(self.life.deadline).min()
    }

    /// Whether the order is on its way back, or came to its end that way.
    pub fn has_turned(&self) -> bool {
        self.life.turn.as_ref().is_some_and(|turn| matches!(turn.phase, TurnPhase::Turned(_)))
    }

    /// The steps something is expected from: waiting, or given up and left to a person, whose answer still mends them; with the
    /// compensations that are under way or overdue.
    pub fn waiting_on(&self) -> impl Iterator<Item = StepIx> {
        let (ended, turned) = (self.life.status.is_ended(), self.has_turned());
        let expects = move |status| match status {
            StepStatus::Waiting | StepStatus::Compensating | StepStatus::CompensationFailed => true,
            StepStatus::TimedOut => !turned,
            StepStatus::Pending
            | StepStatus::Done
            | StepStatus::Failed
            | StepStatus::Skipped
            | StepStatus::Compensated => false,
        };
        self.steps.iter().enumerate().filter(move |(_, step)| !ended && expects(step.status)).map(|(ix, _)| ix)
    }

    /// What holds the order first, when it is stuck.
    pub fn first_need(&self) -> Option<&Need> {
        self.life.needs.first()
    }
}

/// What may have been missed, as the machine is told it (rule 8). Like `now`, it is an argument and not a mark on orders.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Doubt {
    pub id: i64,
    pub kind: DoubtKind,
    /// `None`: every saga.
    pub saga: Option<String>,
    pub from: Moment,
    pub to: Moment,
    /// The event that could not be read, where that much is known.
    pub event: Option<String>,
    /// The order it was for, where that much is known.
    pub order_id: Option<String>,
}

/// What kind of doubt a row records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DoubtKind {
    /// Messages were lost or unseen.
    Gap,
    /// A message could not be read.
    Quarantine,
}

/// Why an order is unproven.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unproven {
    Beginning,
    Gap,
    Quarantine,
    Inferred,
    Evidence,
    Completed,
}

/// What the machine is told beside the input: all it may depend on.
#[derive(Clone, Debug)]
pub struct Circumstances<'a> {
    /// By the database's clock; read once per batch.
    pub now: Moment,
    /// The mode of the saga at this moment.
    pub mode: Mode,
    /// The brake of the saga holds orders that turn back by timeout.
    pub braked: bool,
    /// The doubts of this saga; the machine picks those that concern the order.
    pub doubts: &'a [Doubt],
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature serde asks for")]
fn is_false(flag: &bool) -> bool {
    !flag
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature serde asks for")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}
