//! Moving an order to another version of its definition: what is asked, and what comes of it.
//!
//! An order stays on the version it began with until a person moves it. The same values say what happened and, in a dry run,
//! what would: [`super::machine::migrate`] makes both.

use super::order::{OrderKey, Status, StepStatus};
use super::time::Moment;

/// What a person asks for one order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Migration {
    /// Orders on any other version are left alone.
    pub from: u32,
    pub to: u32,
    /// Steps that wait wait anew, as long as the new version says; else what is armed stays armed.
    pub rearm: bool,
    /// Say what would happen, and change nothing.
    pub dry_run: bool,
    pub actor: String,
    pub reason: String,
}

/// What became of one order, or would.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MigrationAnswer {
    pub key: OrderKey,
    pub outcome: MigrationOutcome,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MigrationOutcome {
    /// It is on the new version, by this entry of its trail.
    Moved { sequence: u64, effects: Effects },
    /// It was on the new version before.
    Already,
    /// It is untouched, and why.
    Refused(String),
}

/// What moving changes about one order, by the names of its steps.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Effects {
    /// The order as a whole, where that changes.
    pub status: Option<(Status, Status)>,
    /// Steps that stand elsewhere than before, that are new, or that are gone.
    pub steps: Vec<StepEffect>,
    /// Everything that is armed afterwards, the earliest first.
    pub deadlines: Vec<DeadlineEffect>,
    /// Compensations that are asked for at once.
    pub asks: Vec<String>,
    /// Events the new version waits for and the old one did not: they may have been published before, so the order is unproven
    /// (`gap`) while it waits for them.
    pub missed: Vec<String>,
}

/// A step that stands elsewhere than before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepEffect {
    pub step: String,
    /// `None`: the old version does not have it.
    pub from: Option<StepStatus>,
    /// `None`: the new version does not have it.
    pub to: Option<StepStatus>,
}

/// An armed deadline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadlineEffect {
    pub what: Armed,
    pub at: Moment,
    /// When it was armed for before; `None` where it was not.
    pub before: Option<Moment>,
    /// It has passed by the clock: it fires as soon as the watermark has passed it too.
    pub is_due: bool,
}

/// What a deadline is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Armed {
    /// A turning back that is not decided yet.
    Turn,
    Step(String),
    Order,
}
