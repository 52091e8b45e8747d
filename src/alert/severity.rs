//! How bad a cause is, where `alerts.yaml` says nothing.
//!
//! Critical is what wakes a person: Escrow cannot do its work, money may be lost, or something was stopped and waits for a
//! person. A warning can wait for the morning. What is on purpose is told, and no more.

use crate::saga::incident::cause::Cause;
use crate::saga::order::StuckReason;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    Info,
    Warning,
    Critical,
}

/// The words of `alerts.yaml`.
pub const SEVERITIES: [&str; 3] = ["critical", "warning", "info"];

/// How bad a cause is by itself; one that is not known may not be overlooked, and need not wake anybody.
pub fn severity_of(cause: &str) -> Severity {
    Cause::from_word(cause).map_or(Severity::Warning, usual)
}

fn usual(cause: Cause) -> Severity {
    match cause {
        Cause::Unbound
        | Cause::BrokerAway
        | Cause::DatabaseAway
        | Cause::Blind
        | Cause::EventNeverSeen
        | Cause::ServiceSilent => Severity::Critical,
        Cause::StepStalled | Cause::Quarantine | Cause::LateOnEnded | Cause::NeverOpened => Severity::Warning,
        Cause::Stuck(reason) => match reason {
            StuckReason::Held
            | StuckReason::CompensationOverdue
            | StuckReason::CompensationUnroutable
            | StuckReason::CompensationRefused
            | StuckReason::CompensationFailed => Severity::Critical,
            StuckReason::TimedOut
            | StuckReason::Failed
            | StuckReason::OrderOverdue
            | StuckReason::TemplateFailed
            | StuckReason::Unproven => Severity::Warning,
            StuckReason::Observe => Severity::Info,
        },
    }
}

impl Severity {
    pub fn word(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }

    pub fn from_word(word: &str) -> Option<Self> {
        [Self::Info, Self::Warning, Self::Critical].into_iter().find(|it| it.word() == word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_escrow_cannot_mend_wakes_a_person() {
        for cause in ["blind", "broker_away", "database_away", "held", "compensation_unroutable"] {
            assert_eq!(severity_of(cause), Severity::Critical, "{cause}");
        }
        assert_eq!(severity_of("something new"), Severity::Warning);
        assert!(SEVERITIES.iter().all(|word| Severity::from_word(word).is_some_and(|it| it.word() == *word)));
    }
}
