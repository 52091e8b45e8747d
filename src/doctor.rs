//! What `escrow doctor` says: one finding for each thing that was looked at, with what to do about it.
//!
//! A running Escrow says the same over HTTP.
//!
//! Values alone; who looks at what is in [`crate::bus::rabbitmq`], [`crate::store`] and [`crate::app`]. A look changes nothing.

use crate::saga::time::Moment;

/// How a thing was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    Ok,
    /// It works, or cannot be checked; a person should know.
    Warning,
    /// Escrow does not, or will not, do what it promises.
    Problem,
}

impl Level {
    /// As it is printed.
    pub fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Problem => "problem",
        }
    }
}

/// All that one look found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkup {
    pub at: Moment,
    /// Problems first.
    pub findings: Vec<Finding>,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Finding {
    /// What kind of thing: `broker`, `tap`, `rights`, `watched`, `retries`, `queues`, `database`, `clock`, `definitions`, `server`.
    pub area: &'static str,
    pub level: Level,
    pub what: String,
    /// What to do, in one sentence; nothing where all is well.
    pub advice: Option<String>,
}

impl Finding {
    /// All is well.
    pub fn ok(area: &'static str, what: impl Into<String>) -> Self {
        Self { area, level: Level::Ok, what: what.into(), advice: None }
    }

    /// A person should know.
    pub fn warning(area: &'static str, what: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { area, level: Level::Warning, what: what.into(), advice: Some(advice.into()) }
    }

    /// Something has to be done.
    pub fn problem(area: &'static str, what: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { area, level: Level::Problem, what: what.into(), advice: Some(advice.into()) }
    }
}
