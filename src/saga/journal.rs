//! The audit trail: what is written about an order, how entries are chained, and how they fold back into the order.
//!
//! ```text
//!   entry 1 ──hash──▶ entry 2 ──hash──▶ entry 3          each hash covers the one before it,
//!      │                 │                 │             the order's name, and the entry as stored
//!      └── fold ─────────┴── fold ─────────┴──▶ exactly the stored order
//! ```
//!
//! An entry holds what was decided: the changed parts of the order as they were afterwards. Verifying decides nothing
//! again. Bodies and attribute values are not in the entry, only their salted hashes.

use serde::{Deserialize, Serialize};
use sha2::Digest as _;

use super::definition::{STEPS_MAX, StepIx};
use super::input::MessageRef;
use super::order::{Digest, Earlier, Life, Order, OrderKey, StepState, StepStatus, Unproven, rank};
use super::time::Moment;

/// One line of an order's trail.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// From 1, without holes.
    pub sequence: u64,
    pub at: Moment,
    pub kind: Kind,
    /// Who asked, for commands.
    pub actor: Option<String>,
    pub body: EntryBody,
}

/// What kind of input an entry records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    Event,
    Deadline,
    Retry,
    Withheld,
    Compensation,
    Confirmation,
    WouldSend,
    Command,
    Late,
    Repeated,
    Conflict,
}

impl Kind {
    /// Every kind, in the order of the documentation.
    pub const ALL: [Self; 11] = [
        Self::Event,
        Self::Deadline,
        Self::Retry,
        Self::Withheld,
        Self::Compensation,
        Self::Confirmation,
        Self::WouldSend,
        Self::Command,
        Self::Late,
        Self::Repeated,
        Self::Conflict,
    ];

    /// The word used everywhere.
    pub fn word(self) -> &'static str {
        match self {
            Self::Event => "event",
            Self::Deadline => "deadline",
            Self::Retry => "retry",
            Self::Withheld => "withheld",
            Self::Compensation => "compensation",
            Self::Confirmation => "confirmation",
            Self::WouldSend => "would_send",
            Self::Command => "command",
            Self::Late => "late",
            Self::Repeated => "repeated",
            Self::Conflict => "conflict",
        }
    }

    /// The kind called `word`.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.word() == word)
    }
}

/// What the hash covers beside the columns; stored as the JSON text it was hashed as.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct EntryBody {
    /// The event, the action, or what became due.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The step it is about, where it is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<StepIx>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<MessageRef>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub inferred: bool,
    /// Message ids of what was written to the outbox with it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub published: Vec<String>,
    /// What would have been sent in mode `observe`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub would_send: Vec<String>,
    /// The doubts that held the decision back.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unproven: Vec<Unproven>,
    /// Salted hash of the payload, hex.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload_hash: Option<String>,
    /// The message's identity, hex.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<String>,
    /// In the first entry only: the version the order began with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub began: Option<Began>,
    /// Where a person moved the order to another version: the entry numbers the steps of the new one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub migrated: Option<Migrated>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<StepChange>,
    /// The order as a whole, where that changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub life: Option<Box<LifeChange>>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attributes: Vec<AttributeChange>,
}

/// How an order began.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Began {
    pub version: u32,
    pub steps: usize,
}

/// How an order went on under another version of its saga.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Migrated {
    pub from: u32,
    pub to: u32,
    /// For each step of the new version, where it was in the old one.
    pub places: Vec<Option<StepIx>>,
}

impl Migrated {
    /// Puts everything that is numbered by step at its new place, but for what concerns the order as a whole: that is written down
    /// as it was afterwards.
    pub fn carry(&self, order: &mut Order) {
        order.earlier.push(Earlier { version: self.from, until: order.sequence });
        order.version = self.to;
        let old = std::mem::take(&mut order.steps);
        let carried =
            self.places.iter().map(|place| place.and_then(|place| old.get(place)).cloned().unwrap_or_default());
        order.steps = carried.collect();
        for attribute in order.attributes.values_mut() {
            // Where the step it came from is gone, the next source has it.
            let moved = rank::step(attribute.rank).map(|step| self.place_of(step).map_or(rank::GONE, rank::of_step));
            attribute.rank = moved.unwrap_or(attribute.rank);
        }
    }

    /// Where a step of the old version is in the new one.
    pub fn place_of(&self, old: StepIx) -> Option<StepIx> {
        self.places.iter().position(|place| *place == Some(old))
    }
}

/// One step that changed: what it was, and all that it is now.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepChange {
    pub step: StepIx,
    pub from: StepStatus,
    pub now: StepState,
}

/// The order as a whole: what it was, and all that it is now.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LifeChange {
    pub from: super::order::Status,
    pub now: Life,
}

/// An attribute that got a value; the value itself is in the order's row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttributeChange {
    pub name: String,
    pub rank: u32,
    /// Salted hash of the value, hex; the salt is that of the entry's payload.
    pub hash: String,
}

/// Why a trail does not hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    #[error("entry {sequence} is missing or out of order")]
    Sequence { sequence: u64 },
    #[error("entry {sequence} was changed: its hash does not match")]
    Hash { sequence: u64 },
    #[error("entry {sequence} cannot be read: {why}")]
    Unreadable { sequence: u64, why: String },
    #[error("the trail does not fold to the stored order: {what} differs")]
    Fold { what: &'static str },
    #[error("the payload of entry {sequence} was changed")]
    Payload { sequence: u64 },
    #[error("attribute `{name}` was changed")]
    Attribute { name: String },
}

/// The hash of an entry: SHA-256 over the hash before it and every stored column, each with its length.
pub fn chain(
    previous: &Digest,
    key: &OrderKey,
    sequence: u64,
    at: Moment,
    kind: Kind,
    actor: Option<&str>,
    body: &str,
) -> Digest {
    let mut hash = sha2::Sha256::new();
    hash.update(previous);
    for part in [
        key.saga.as_bytes(),
        key.order_id.as_bytes(),
        kind.word().as_bytes(),
        actor.unwrap_or("").as_bytes(),
        body.as_bytes(),
    ] {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.update(sequence.to_be_bytes());
    hash.update(at.0.to_be_bytes());
    hash.finalize().into()
}

/// The salted hash the trail keeps of an attribute's value.
pub fn attribute_hash(salt: &[u8; 16], name: &str, value: &serde_json::Value) -> String {
    let mut hash = sha2::Sha256::new();
    hash.update(salt);
    hash.update((name.len() as u64).to_be_bytes());
    hash.update(name);
    hash.update(value.to_string());
    hex(&hash.finalize())
}

/// Lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: [char; 16] = ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'];
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits.map(|digit| DIGITS[usize::from(digit)]).collect()
}

/// Reads lower- or upper-case hexadecimal of exactly `N` bytes.
pub fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    if text.len() != 2 * N || !text.is_ascii() {
        return None;
    }
    let mut bytes = [0; N];
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * at..2 * at + 2], 16).ok()?;
    }
    Some(bytes)
}

/// Applies one entry to `order`. Attribute values are not in the trail: their place is marked with null.
///
/// `None` begins an order.
///
/// # Errors
/// When the entry does not follow the one before it, or names a step the order does not have.
pub fn fold(order: Option<Order>, key: &OrderKey, entry: &Entry) -> Result<Order, Broken> {
    let sequence = entry.sequence;
    let mut order = match (order, &entry.body.began) {
        (Some(order), None) if order.sequence + 1 == sequence => order,
        // A trail that was tampered with may say anything; no definition has so many.
        (None, Some(began)) if began.steps > STEPS_MAX => return Err(Broken::Fold { what: "the number of steps" }),
        (None, Some(began)) if sequence == 1 => Order::begin(key.clone(), began.version, began.steps, entry.at),
        _ => return Err(Broken::Sequence { sequence }),
    };
    if let Some(migrated) = &entry.body.migrated {
        if migrated.from != order.version {
            return Err(Broken::Fold { what: "the version" });
        }
        migrated.carry(&mut order);
    }
    for change in &entry.body.steps {
        let place = order.steps.get_mut(change.step).ok_or(Broken::Fold { what: "the number of steps" })?;
        *place = change.now.clone();
    }
    if let Some(change) = &entry.body.life {
        order.life = change.now.clone();
    }
    for attribute in &entry.body.attributes {
        let value = super::order::Attribute { value: serde_json::Value::Null, sequence, rank: attribute.rank };
        order.attributes.insert(attribute.name.clone(), value);
    }
    if let Some(identity) = &entry.body.identity {
        order.seen.push(unhex(identity).ok_or(Broken::Fold { what: "an identity" })?);
    }
    order.sequence = sequence;
    order.updated_at = entry.at;
    Ok(order)
}

/// Says where a folded order and the stored one differ, attribute values and the count of duplicates aside.
///
/// # Errors
/// The first difference.
pub fn same(folded: &Order, stored: &Order) -> Result<(), Broken> {
    let differs = |what| Err(Broken::Fold { what });
    if folded.sequence != stored.sequence || folded.head != stored.head {
        return differs("the head of the trail");
    }
    if folded.version != stored.version
        || folded.earlier != stored.earlier
        || folded.created_at != stored.created_at
        || folded.updated_at != stored.updated_at
    {
        return differs("the version or a time of the order");
    }
    if folded.life != stored.life {
        return differs("the status");
    }
    if folded.steps != stored.steps {
        return differs("a step");
    }
    if folded.seen != stored.seen {
        return differs("the set of messages seen");
    }
    let places = |order: &Order| {
        order.attributes.iter().map(|(name, it)| (name.clone(), it.rank, it.sequence)).collect::<Vec<_>>()
    };
    if places(folded) != places(stored) {
        return differs("an attribute");
    }
    Ok(())
}
