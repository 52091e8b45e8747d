//! What can hold orders up, as a fixed list of words, and which of them explains which.
//!
//! ```text
//!   sight    unbound, broker_away, database_away, blind      Escrow does not see: nothing below can be told from that
//!     └─ step     event_never_seen ─▶ service_silent ─▶ step_stalled    one service does not answer
//!          └─ orders   timed_out, held, unproven, …          what that does to orders
//! ```
//!
//! What explains another is its parent. Of two that take the sight from the same sagas, the one that opened first explains the other:
//! a dead broker is found by its connection or by the silence of the tap, whichever is noticed first.

use super::Incident;
use crate::saga::order::StuckReason;

/// One cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cause {
    /// A person has taken the tap from the services' exchanges.
    Unbound,
    /// A connection to the broker is down.
    BrokerAway,
    /// The database took no writes.
    DatabaseAway,
    /// It is not known what the services publish.
    Blind,
    /// An event that the definition names was never seen, and one that is called almost like it was.
    EventNeverSeen,
    /// Nothing comes that would close a step, while orders wait for it and others arrive at it.
    ServiceSilent,
    /// Much of what came due on a step timed out, and orders go on without it.
    StepStalled,
    /// Messages that cannot be read or placed pile up.
    Quarantine,
    /// Something happened to orders that had ended, and a person has to look (rule 13).
    LateOnEnded,
    /// Orders whose beginning was never seen were closed (rule 8).
    NeverOpened,
    /// Orders are stuck for this reason.
    Stuck(StuckReason),
}

/// How much a cause is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Level {
    Sight,
    Step,
    Orders,
}

impl Cause {
    /// Every cause but those of stuck orders, which are [`StuckReason::ALL`].
    const OWN: [Self; 10] = [
        Self::Unbound,
        Self::BrokerAway,
        Self::DatabaseAway,
        Self::Blind,
        Self::EventNeverSeen,
        Self::ServiceSilent,
        Self::StepStalled,
        Self::Quarantine,
        Self::LateOnEnded,
        Self::NeverOpened,
    ];

    /// Every cause.
    pub fn all() -> impl Iterator<Item = Self> {
        Self::OWN.into_iter().chain(StuckReason::ALL.into_iter().map(Self::Stuck))
    }

    /// The word used everywhere; of stuck orders that of the reason.
    pub fn word(self) -> &'static str {
        match self {
            Self::Unbound => "unbound",
            Self::BrokerAway => "broker_away",
            Self::DatabaseAway => "database_away",
            Self::Blind => "blind",
            Self::EventNeverSeen => "event_never_seen",
            Self::ServiceSilent => "service_silent",
            Self::StepStalled => "step_stalled",
            Self::Quarantine => "quarantine",
            Self::LateOnEnded => "late_on_ended",
            Self::NeverOpened => "never_opened",
            Self::Stuck(reason) => reason.word(),
        }
    }

    /// The cause called `word`.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::all().find(|cause| cause.word() == word)
    }

    /// Whether it may explain others: people are told of it without waiting for something that explains it.
    pub fn is_parent(self) -> bool {
        self.level() != Level::Orders
    }

    /// Whether its orders are those that are stuck, or wait, on its step.
    pub fn waits_on_step(self) -> bool {
        self.level() == Level::Step
    }

    fn level(self) -> Level {
        match self {
            Self::Unbound | Self::BrokerAway | Self::DatabaseAway | Self::Blind => Level::Sight,
            Self::EventNeverSeen | Self::ServiceSilent | Self::StepStalled => Level::Step,
            Self::Quarantine | Self::LateOnEnded | Self::NeverOpened | Self::Stuck(_) => Level::Orders,
        }
    }

    /// Whether blindness alone can bring it about: what was said by a service, or by the definition, cannot come from that.
    fn follows_from_blindness(self) -> bool {
        match self {
            Self::Unbound
            | Self::BrokerAway
            | Self::DatabaseAway
            | Self::Blind
            | Self::EventNeverSeen
            | Self::ServiceSilent
            | Self::StepStalled
            | Self::NeverOpened => true,
            Self::Quarantine | Self::LateOnEnded => false,
            Self::Stuck(reason) => match reason {
                StuckReason::TimedOut
                | StuckReason::OrderOverdue
                | StuckReason::CompensationOverdue
                | StuckReason::CompensationUnroutable
                | StuckReason::CompensationRefused
                | StuckReason::Held
                | StuckReason::Unproven
                | StuckReason::Observe => true,
                StuckReason::Failed | StuckReason::CompensationFailed | StuckReason::TemplateFailed => false,
            },
        }
    }
}

/// The incident among `all` that explains `child`, if it is itself explained by none: only then somebody is told of it.
pub fn parent_of<'a>(child: &Incident, all: &'a [Incident]) -> Option<&'a Incident> {
    let first = first_explaining(child, all)?;
    first_explaining(first, all).is_none().then_some(first)
}

fn first_explaining<'a>(child: &Incident, all: &'a [Incident]) -> Option<&'a Incident> {
    all.iter().filter(|it| it.about != child.about && explains(it, child)).min_by_key(|it| place(it))
}

/// The widest first, then the earliest.
fn place(incident: &Incident) -> (bool, bool, i64, Option<Cause>, &super::About) {
    let cause = Cause::from_word(&incident.about.cause);
    let is_sight = cause.is_some_and(|cause| cause.level() == Level::Sight);
    let of_step = match cause {
        Some(Cause::EventNeverSeen) => 0,
        Some(Cause::ServiceSilent) => 1,
        _ => 2,
    };
    let at = if is_sight { incident.opened_at.0 } else { of_step };
    (!is_sight, !incident.about.saga.is_empty(), at, cause, &incident.about)
}

fn explains(parent: &Incident, child: &Incident) -> bool {
    let (of, on) = (&parent.about, &child.about);
    let (Some(cause), Some(effect)) = (Cause::from_word(&of.cause), Cause::from_word(&on.cause)) else {
        return false;
    };
    let covers = of.saga.is_empty() || of.saga == on.saga;
    match (cause.level(), effect.level()) {
        (Level::Sight, Level::Sight) => covers && (of.saga.len() < on.saga.len() || place(parent) < place(child)),
        (Level::Sight, Level::Step) => covers,
        (Level::Sight, Level::Orders) if effect == Cause::Quarantine => covers && cause == Cause::Blind,
        (Level::Sight, Level::Orders) => covers && effect.follows_from_blindness(),
        (Level::Step, Level::Step) => of.saga == on.saga && of.step == on.step && cause < effect,
        (Level::Step, Level::Orders) => of.saga == on.saga && follows_from_silence(effect, of.step == on.step),
        (Level::Step | Level::Orders, Level::Sight) | (Level::Orders, Level::Step | Level::Orders) => false,
    }
}

/// Whether a step without answers can bring it about. The brake holds a whole saga, whatever the step.
fn follows_from_silence(effect: Cause, same_step: bool) -> bool {
    match effect {
        Cause::Stuck(StuckReason::Held) => true,
        Cause::Stuck(
            StuckReason::TimedOut | StuckReason::CompensationOverdue | StuckReason::Unproven | StuckReason::Observe,
        ) => same_step,
        Cause::Stuck(
            StuckReason::Failed
            | StuckReason::OrderOverdue
            | StuckReason::CompensationUnroutable
            | StuckReason::CompensationRefused
            | StuckReason::CompensationFailed
            | StuckReason::TemplateFailed,
        )
        | Cause::Unbound
        | Cause::BrokerAway
        | Cause::DatabaseAway
        | Cause::Blind
        | Cause::EventNeverSeen
        | Cause::ServiceSilent
        | Cause::StepStalled
        | Cause::Quarantine
        | Cause::LateOnEnded
        | Cause::NeverOpened => false,
    }
}
