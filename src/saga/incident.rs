//! Incidents as values: one cause that holds up one or many orders, and what people are told of it.
//!
//! An incident is named by what it is about (cause, saga, step), never by a text, so the same cause is the same incident
//! whoever finds it and whatever it says. Each time it opens anew after it was resolved is an episode. What is told of an
//! episode is a notice: a row for each channel, written with the incident and sent later, as the outbox is.
//!
//! ```text
//!   observed ─▶ open ──▶ updated ──▶ … ──▶ resolved ─▶ (observed again) next episode
//!                │          │                 │
//!             trigger    update            resolve      one row each for every channel
//! ```

pub mod cause;
pub mod decide;
#[cfg(test)]
mod tests;
pub mod why;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::outgoing::derived_id;
use super::time::Moment;

/// Orders named as samples of an incident.
pub const SAMPLES_MAX: usize = 10;

/// One cause.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Incident {
    pub about: About,
    /// Counts the times it opened, from 1.
    pub episode: u64,
    pub status: IncidentStatus,
    /// Orders it holds up now; 0 while it is calm, and for a cause that is not about orders.
    pub count: u64,
    /// Most orders it held up at once.
    pub peak: u64,
    /// Since when, and until when it was last seen to get worse: of the orders it holds up, the first and the last.
    pub first_at: Moment,
    pub last_at: Moment,
    pub opened_at: Moment,
    /// When it was over: the beginning of the calm by which that was certain.
    pub resolved_at: Option<Moment>,
    /// Not seen since; it is resolved once that has lasted long enough.
    pub calm_since: Option<Moment>,
    /// Up to [`SAMPLES_MAX`] orders, as `order_id`.
    pub samples: Vec<String>,
    /// One sentence a person can act on.
    pub why: String,
    /// The id of the incident that explains this one: it is then told of by that one alone.
    pub parent: Option<String>,
    pub acked: Option<Acked>,
}

/// What an incident is about; its identity.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct About {
    /// A word of a fixed list: [`cause::Cause`].
    pub cause: String,
    /// Empty where it is about all of them.
    pub saga: String,
    pub step: Option<String>,
}

/// Whether it lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IncidentStatus {
    Open,
    Resolved,
}

/// A person knows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acked {
    pub by: String,
    pub at: Moment,
    pub reason: String,
}

/// Something to be told to one channel: a row, sent until the receiver took it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    /// The channel's name in `alerts.yaml`.
    pub channel: String,
    pub kind: NoticeKind,
    /// Place among the notices of its episode and channel; with it, they are sent in this sequence.
    pub number: u64,
    /// The incident as it was then.
    pub incident: Incident,
}

/// What a notice says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NoticeKind {
    /// It opened: at most once for each channel and episode.
    Trigger,
    /// It got much worse, or still lasts.
    Update,
    /// It is over: at most once, and only after a trigger.
    Resolve,
}

/// Which channels are told of an incident; what `alerts.yaml` says.
pub trait Routes: Send + Sync {
    /// Names of channels, without repeats.
    fn channels(&self, incident: &Incident) -> Vec<String>;
}

/// Nobody is told: no alerts are configured.
#[derive(Debug)]
pub struct Untold;

impl Routes for Untold {
    fn channels(&self, _incident: &Incident) -> Vec<String> {
        Vec::new()
    }
}

impl About {
    /// What an incident of this cause is about; `saga` is empty for all of them.
    pub fn new(cause: cause::Cause, saga: &str, step: Option<&str>) -> Self {
        Self { cause: cause.word().to_owned(), saga: saga.to_owned(), step: step.map(str::to_owned) }
    }

    /// The id, always the same.
    pub fn id(&self) -> String {
        derived_id(&["incident", &self.saga, self.step.as_deref().unwrap_or(""), &self.cause]).to_string()
    }
}

impl Notice {
    /// Names the row, and is the same on every sending: receivers that drop repeats may use it. No two are alike, ever: once an
    /// incident is forgotten its episodes are counted anew, and the moment it opened tells those apart.
    pub fn key(&self) -> Uuid {
        let Incident { about, episode, opened_at, .. } = &self.incident;
        let (episode, opened_at) = (episode.to_string(), opened_at.0.to_string());
        derived_id(&["notice", &self.channel, &about.id(), &episode, &opened_at, &self.number.to_string()])
    }
}

impl NoticeKind {
    /// The kind called `word`.
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::Trigger, Self::Update, Self::Resolve].into_iter().find(|kind| kind.word() == word)
    }

    /// The word the database and receivers see.
    pub fn word(self) -> &'static str {
        match self {
            Self::Trigger => "trigger",
            Self::Update => "update",
            Self::Resolve => "resolve",
        }
    }
}

impl IncidentStatus {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Open, Self::Resolved];

    /// The status called `word`.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.word() == word)
    }

    /// The word the API and the database use.
    pub fn word(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Resolved => "resolved",
        }
    }
}
