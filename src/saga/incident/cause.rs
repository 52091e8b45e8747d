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

#[cfg(test)]
mod tests {
    use super::super::{About, IncidentStatus};
    use super::*;
    use crate::saga::time::Moment;

    /// `cause`, of this saga (empty: all) and step, opened at this second.
    fn incident(cause: Cause, saga: &str, step: Option<&str>, second: i64) -> Incident {
        let at = Moment(second);
        Incident {
            about: About::new(cause, saga, step),
            episode: 1,
            status: IncidentStatus::Open,
            count: 1,
            peak: 1,
            first_at: at,
            last_at: at,
            opened_at: at,
            resolved_at: None,
            calm_since: None,
            samples: Vec::new(),
            why: String::new(),
            parent: None,
            acked: None,
        }
    }

    fn stuck(reason: StuckReason) -> Cause {
        Cause::Stuck(reason)
    }

    #[test]
    fn causes_have_words_and_three_of_them_wait_on_a_step() {
        assert_eq!(Cause::all().count(), 10 + StuckReason::ALL.len());
        assert!(Cause::all().all(|cause| Cause::from_word(cause.word()) == Some(cause)));
        let of_steps: Vec<&str> = Cause::all().filter(|cause| cause.waits_on_step()).map(Cause::word).collect();
        assert_eq!(of_steps, ["event_never_seen", "service_silent", "step_stalled"]);
        let parents: Vec<&str> = Cause::all().filter(|cause| cause.is_parent()).map(Cause::word).collect();
        assert_eq!(parents.len(), 7);
    }

    #[test]
    fn what_takes_the_sight_explains_what_it_covers_and_can_bring_about() {
        let blind = incident(Cause::Blind, "order", None, 0);
        let away = incident(Cause::BrokerAway, "", None, 0);
        for (child, by_blind, by_away) in [
            (incident(Cause::ServiceSilent, "order", Some("a"), 1), true, true),
            (incident(Cause::ServiceSilent, "other", Some("a"), 1), false, true),
            (incident(stuck(StuckReason::TimedOut), "order", Some("a"), 1), true, true),
            (incident(stuck(StuckReason::TimedOut), "other", Some("a"), 1), false, true),
            // A service said so itself.
            (incident(stuck(StuckReason::Failed), "order", Some("a"), 1), false, false),
            // Unreadable messages make blind; a broker that is away makes none.
            (incident(Cause::Quarantine, "order", None, 1), true, false),
            (incident(Cause::Quarantine, "other", None, 1), false, false),
            (incident(Cause::LateOnEnded, "order", None, 1), false, false),
        ] {
            assert_eq!((explains(&blind, &child), explains(&away, &child)), (by_blind, by_away), "{:?}", child.about);
            assert!(!explains(&child, &blind) && !explains(&child, &away), "{:?}", child.about);
        }
    }

    #[test]
    fn of_two_that_take_the_sight_the_wider_explains_and_then_the_earlier() {
        let of = |cause, saga, second| incident(cause, saga, None, second);
        let (early, late) = (of(Cause::BrokerAway, "", 1), of(Cause::Blind, "", 2));
        assert!(explains(&early, &late) && !explains(&late, &early));
        let narrow = of(Cause::Blind, "order", 0);
        assert!(explains(&late, &narrow) && !explains(&narrow, &late), "the wider one, though it is later");
        let other = of(Cause::BrokerAway, "stock", 9);
        assert!(!explains(&narrow, &other) && !explains(&other, &narrow), "of two sagas");
        assert!(!explains(&early, &early), "nothing explains itself");
    }

    #[test]
    fn a_silent_service_explains_what_waits_for_it_and_the_brake_of_its_saga() {
        let silent = incident(Cause::ServiceSilent, "order", Some("a"), 0);
        for (cause, saga, step, is) in [
            (Cause::StepStalled, "order", Some("a"), true),
            (Cause::StepStalled, "order", Some("b"), false),
            (Cause::StepStalled, "other", Some("a"), false),
            (Cause::EventNeverSeen, "order", Some("a"), false),
            (stuck(StuckReason::TimedOut), "order", Some("a"), true),
            (stuck(StuckReason::TimedOut), "order", Some("b"), false),
            (stuck(StuckReason::TimedOut), "other", Some("a"), false),
            (stuck(StuckReason::Held), "order", None, true),
            (stuck(StuckReason::Held), "other", None, false),
            (stuck(StuckReason::Failed), "order", Some("a"), false),
            (Cause::Quarantine, "order", None, false),
            (Cause::Blind, "order", None, false),
        ] {
            let child = incident(cause, saga, step, 1);
            assert_eq!(explains(&silent, &child), is, "{:?}", child.about);
        }
    }

    #[test]
    fn the_widest_speaks_and_what_is_explained_itself_speaks_for_nobody() {
        let child = incident(stuck(StuckReason::TimedOut), "order", Some("a"), 9);
        let stalled = incident(Cause::StepStalled, "order", Some("a"), 3);
        let silent = incident(Cause::ServiceSilent, "order", Some("a"), 4);
        let never = incident(Cause::EventNeverSeen, "order", Some("a"), 5);
        let blind = incident(Cause::Blind, "order", None, 8);
        let parent = |all: &[&Incident]| {
            let all: Vec<Incident> = all.iter().map(|it| (*it).clone()).collect();
            parent_of(&child, &all).map(|it| it.about.cause.clone())
        };
        assert_eq!(parent(&[&child]), None);
        assert_eq!(parent(&[&child, &stalled]).as_deref(), Some("step_stalled"));
        assert_eq!(parent(&[&stalled, &silent]).as_deref(), Some("service_silent"));
        assert_eq!(parent(&[&stalled, &silent, &never]).as_deref(), Some("event_never_seen"));
        assert_eq!(parent(&[&stalled, &silent, &never, &blind]).as_deref(), Some("blind"));
        let wide = incident(Cause::BrokerAway, "", None, 20);
        assert_eq!(
            parent(&[&silent, &blind, &wide]).as_deref(),
            Some("broker_away"),
            "the wider one, though it is later"
        );
    }
}
