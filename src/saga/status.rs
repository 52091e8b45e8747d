//! The words for where orders and steps stand, and why an order is stuck: the same in code, API, page and documents.

use serde::{Deserialize, Serialize};

/// The status of an order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    #[default]
    Running,
    Compensating,
    Stuck,
    Completed,
    Compensated,
    Cancelled,
    Failed,
    Closed,
}

impl Status {
    /// Every status, in the order of the documentation.
    pub const ALL: [Self; 8] = [
        Self::Running,
        Self::Compensating,
        Self::Stuck,
        Self::Completed,
        Self::Compensated,
        Self::Cancelled,
        Self::Failed,
        Self::Closed,
    ];

    /// Whether nothing is expected any more.
    pub fn is_ended(self) -> bool {
        !matches!(self, Self::Running | Self::Compensating | Self::Stuck)
    }

    /// The word used everywhere.
    pub fn word(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Compensating => "compensating",
            Self::Stuck => "stuck",
            Self::Completed => "completed",
            Self::Compensated => "compensated",
            Self::Cancelled => "cancelled",
            Self::Failed => "failed",
            Self::Closed => "closed",
        }
    }

    /// The status called `word`.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.word() == word)
    }
}

/// Why an order is stuck.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StuckReason {
    TimedOut,
    Failed,
    OrderOverdue,
    CompensationOverdue,
    CompensationUnroutable,
    CompensationRefused,
    CompensationFailed,
    TemplateFailed,
    Held,
    Unproven,
    Observe,
}

impl StuckReason {
    /// Every reason, in the order of the documentation.
    pub const ALL: [Self; 11] = [
        Self::TimedOut,
        Self::Failed,
        Self::OrderOverdue,
        Self::CompensationOverdue,
        Self::CompensationUnroutable,
        Self::CompensationRefused,
        Self::CompensationFailed,
        Self::TemplateFailed,
        Self::Held,
        Self::Unproven,
        Self::Observe,
    ];

    /// The word used everywhere.
    pub fn word(self) -> &'static str {
        match self {
            Self::TimedOut => "timed_out",
            Self::Failed => "failed",
            Self::OrderOverdue => "order_overdue",
            Self::CompensationOverdue => "compensation_overdue",
            Self::CompensationUnroutable => "compensation_unroutable",
            Self::CompensationRefused => "compensation_refused",
            Self::CompensationFailed => "compensation_failed",
            Self::TemplateFailed => "template_failed",
            Self::Held => "held",
            Self::Unproven => "unproven",
            Self::Observe => "observe",
        }
    }

    /// The reason called `word`.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.word() == word)
    }
}

/// The status of a step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepStatus {
    #[default]
    Pending,
    Waiting,
    Done,
    Failed,
    TimedOut,
    Skipped,
    Compensating,
    Compensated,
    CompensationFailed,
}

impl StepStatus {
    /// Every status, in the order of the documentation.
    pub const ALL: [Self; 9] = [
        Self::Pending,
        Self::Waiting,
        Self::Done,
        Self::Failed,
        Self::TimedOut,
        Self::Skipped,
        Self::Compensating,
        Self::Compensated,
        Self::CompensationFailed,
    ];

    /// The word used everywhere.
    pub fn word(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Waiting => "waiting",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::TimedOut => "timed_out",
            Self::Skipped => "skipped",
            Self::Compensating => "compensating",
            Self::Compensated => "compensated",
            Self::CompensationFailed => "compensation_failed",
        }
    }
}
