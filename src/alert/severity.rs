//! How bad a cause is, where `alerts.yaml` says nothing.
//!
//! Critical is what wakes a person: Escrow cannot do its work, money may be lost, or something was stopped and waits for a
//! person. A warning can wait for the morning. What is on purpose is told, and no more.

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    Info,
    Warning,
    Critical,
}

/// The words of `alerts.yaml`.
pub const SEVERITIES: [&str; 3] = ["critical", "warning", "info"];

/// Every cause, with how bad it is.
pub const CAUSES: [(&str, Severity); 20] = [
    ("blind", Severity::Critical),
    ("unbound", Severity::Critical),
    ("broker_away", Severity::Critical),
    ("database_away", Severity::Critical),
    ("held", Severity::Critical),
    ("service_silent", Severity::Critical),
    ("compensation_overdue", Severity::Critical),
    ("compensation_unroutable", Severity::Critical),
    ("compensation_refused", Severity::Critical),
    ("compensation_failed", Severity::Critical),
    ("step_stalled", Severity::Warning),
    ("timed_out", Severity::Warning),
    ("failed", Severity::Warning),
    ("order_overdue", Severity::Warning),
    ("template_failed", Severity::Warning),
    ("unproven", Severity::Warning),
    ("quarantine", Severity::Warning),
    ("late_on_ended", Severity::Warning),
    ("never_opened", Severity::Warning),
    ("observe", Severity::Info),
];

/// How bad a cause is by itself; one that is not known may not be overlooked, and need not wake anybody.
pub fn severity_of(cause: &str) -> Severity {
    CAUSES.iter().find(|(name, _)| *name == cause).map_or(Severity::Warning, |(_, severity)| *severity)
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
    use crate::saga::order::StuckReason;

    #[test]
    fn every_reason_to_be_stuck_is_a_cause() {
        for reason in StuckReason::ALL {
            assert!(CAUSES.iter().any(|(cause, _)| *cause == reason.word()), "{}", reason.word());
        }
    }

    #[test]
    fn what_escrow_cannot_mend_wakes_a_person() {
        for cause in ["blind", "broker_away", "database_away", "held", "compensation_unroutable"] {
            assert_eq!(severity_of(cause), Severity::Critical, "{cause}");
        }
        assert_eq!(severity_of("something new"), Severity::Warning);
        assert!(SEVERITIES.iter().all(|word| Severity::from_word(word).is_some_and(|it| it.word() == *word)));
    }
}
