//! Rules 10 and 12: the broker's word on a retry or a compensation.
//!
//! Found by the outbox row it is about. A word nobody waits for any more (the answer came first) is written down and
//! changes nothing.

use crate::saga::definition::{Compensation, StepIx};
use crate::saga::input::{Confirmation, Verdict};
use crate::saga::journal::Kind;
use crate::saga::order::{StepStatus, StuckReason};
use crate::saga::time::Span;

use super::{Machine, Note, ResultOf};

impl Machine<'_> {
    pub(super) fn confirmation(&mut self, confirmation: &Confirmation) -> ResultOf {
        let step = self.order.steps.iter().position(|step| step.awaiting == Some(confirmation.key));
        let kind = match confirmation.verdict {
            Verdict::Withheld(_) => Kind::Withheld,
            Verdict::Routed | Verdict::Unroutable(_) | Verdict::Refused(_) => Kind::Confirmation,
        };
        if let Some(step) = step {
            self.step(step).awaiting = None;
            match self.status_of(step) {
                StepStatus::Waiting => self.retry_confirmed(step),
                StepStatus::Compensating => self.compensation_confirmed(step, &confirmation.verdict),
                StepStatus::Pending
                | StepStatus::Done
                | StepStatus::Failed
                | StepStatus::TimedOut
                | StepStatus::Skipped
                | StepStatus::Compensated
                | StepStatus::CompensationFailed => {}
            }
        }
        let name = step.map_or("nobody_waits".to_owned(), |step| self.saga.steps[step].name.clone());
        self.conclude(kind, Note { step, ..Note::named(name).because(in_words(&confirmation.verdict)) });
        ResultOf::Applied
    }

    /// `every` runs from the broker's word, whatever it was: the attempt counts.
    fn retry_confirmed(&mut self, step: StepIx) {
        if self.order.steps[step].deadline.is_none() {
            self.arm_next_retry(step);
        }
    }

    fn compensation_confirmed(&mut self, step: StepIx, verdict: &Verdict) {
        let Some(undo) = self.saga.steps[step].compensation.clone() else { return };
        match verdict {
            Verdict::Routed if undo.done.is_empty() => self.close_round(step),
            Verdict::Routed => {
                let now = self.with.now;
                let wait = wait_after_sending(&undo, self.order.steps[step].undo.attempts);
                let state = self.step(step);
                state.undo.confirmed_at = Some(now);
                // A person may have given it longer meanwhile.
                state.deadline = Some(state.deadline.map_or(now + wait, |extended| extended.max(now + wait)));
            }
            Verdict::Unroutable(why) => {
                self.compensation_fails(step, StuckReason::CompensationUnroutable, Some(why.clone()));
            }
            Verdict::Refused(why) | Verdict::Withheld(why) => {
                self.compensation_fails(step, StuckReason::CompensationRefused, Some(why.clone()));
            }
        }
    }
}

/// `within` after the first sending; after a repeated one the rhythm of the retries, while the definition has one.
fn wait_after_sending(undo: &Compensation, attempts: u32) -> Span {
    match &undo.retry {
        Some(cadence) if attempts > 1 => cadence.wait_after(attempts - 1),
        Some(_) | None => undo.patience(),
    }
}

fn in_words(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Routed => "routed".to_owned(),
        Verdict::Unroutable(why) => format!("unroutable: {why}"),
        Verdict::Refused(why) => format!("refused: {why}"),
        Verdict::Withheld(why) => format!("withheld: {why}"),
    }
}
