//! Rule 15: what a person asks.
//!
//! Each action is journaled with who asked and why, also on unproven orders: a person answers for it. One that does not fit
//! where the order stands changes nothing and says what stands against it.

use crate::saga::definition::{OnTimeout, StepIx};
use crate::saga::input::{Action, Command, Misfit};
use crate::saga::journal::Kind;
use crate::saga::order::{Cause, Need, Skipped, Status, StepStatus, StuckReason, TurnPhase};
use crate::saga::time::Span;

use super::turning::WITHHELD;
use super::{Machine, Note, ResultOf};

impl Machine<'_> {
    pub(super) fn command(&mut self, command: &Command) -> Result<ResultOf, Misfit> {
        let ended = self.order.life.status.is_ended();
        if ended && command.action != Action::Note {
            return Err(self.misfit(command.action, "is ended"));
        }
        match command.action {
            Action::Retry => self.act_retry(command)?,
            Action::Skip => self.act_skip(command)?,
            Action::Extend(by) => self.act_extend(command, by)?,
            Action::Compensate => self.act_compensate(command)?,
            Action::Release => self.act_release(command)?,
            Action::Drop => self.act_drop(command)?,
            Action::Close => self.act_close(),
            Action::Note => {}
        }
        let note = Note {
            step: command.step,
            actor: Some(command.actor.clone()),
            ..Note::named(command.action.word()).because(command.reason.clone())
        };
        self.conclude(Kind::Command, note);
        Ok(ResultOf::Applied)
    }

    /// In mode `observe` nothing is sent, not by a person either (rule 9).
    fn may_send(&self, action: Action) -> Result<(), Misfit> {
        if self.observes() {
            let why = "would be sent something, and its saga is in mode observe";
            return Err(self.misfit(action, why));
        }
        Ok(())
    }

    fn misfit(&self, action: Action, why: &str) -> Misfit {
        let key = &self.order.key;
        Misfit(format!("`{}` does not fit: order {key} {why} ({})", action.word(), self.order.life.status.word()))
    }

    fn step_misfit(&self, action: Action, step: StepIx, why: &str) -> Misfit {
        let (name, status) = (&self.saga.steps[step].name, self.status_of(step).word());
        Misfit(format!("`{}` does not fit: step {name} is {status}{why}", action.word()))
    }

    /// The step named, or the only one that needs a person.
    fn step_in_need(&self, command: &Command) -> Result<StepIx, Misfit> {
        if let Some(step) = command.step {
            return Ok(step);
        }
        let mut steps: Vec<StepIx> = self.order.life.needs.iter().filter_map(|need| need.step).collect();
        steps.sort_unstable();
        steps.dedup();
        match steps.as_slice() {
            [only] => Ok(*only),
            [] => Err(self.misfit(command.action, "has no step that needs a person")),
            [..] => Err(self.misfit(command.action, "has several steps that need a person; name one")),
        }
    }

    /// A stuck step is re-sent and waits anew; a stuck compensation is sent again in the same round; a template that failed is
    /// rendered again.
    fn act_retry(&mut self, command: &Command) -> Result<(), Misfit> {
        let step = self.step_in_need(command)?;
        let template_failed = self.has_need(StuckReason::TemplateFailed, Some(step));
        match self.status_of(step) {
            StepStatus::Pending if template_failed => self.resolve(step),
            StepStatus::TimedOut | StepStatus::Failed if !self.order.has_turned() => {
                self.may_send(Action::Retry)?;
                self.resend(step)?;
            }
            StepStatus::Done | StepStatus::TimedOut | StepStatus::Skipped if template_failed => {
                self.may_send(Action::Retry)?;
                self.resolve(step);
            }
            StepStatus::CompensationFailed => {
                self.may_send(Action::Retry)?;
                self.resolve(step);
                if let Err(error) = self.ask_again(step) {
                    self.need(StuckReason::TemplateFailed, Some(step), Some(error));
                }
            }
            StepStatus::Pending
            | StepStatus::Waiting
            | StepStatus::Done
            | StepStatus::Failed
            | StepStatus::TimedOut
            | StepStatus::Skipped
            | StepStatus::Compensating
            | StepStatus::Compensated => return Err(self.step_misfit(Action::Retry, step, "")),
        }
        Ok(())
    }

    /// Sends the message that opened the step once more; it waits with a fresh `within`.
    fn resend(&mut self, step: StepIx) -> Result<(), Misfit> {
        if self.saga.steps[step].retry.is_none() {
            let why = ", and its definition names no retry; `extend` waits longer without sending";
            return Err(self.step_misfit(Action::Retry, step, why));
        }
        if self.order.steps[step].opened_by.is_none() {
            let why = ", and no message opened it that could be sent again";
            return Err(self.step_misfit(Action::Retry, step, why));
        }
        if self.wait_again(step) {
            self.withdraw_turn(step);
            let deadline = self.order.steps[step].deadline;
            self.send_retry(step);
            self.step(step).deadline = deadline;
        }
        Ok(())
    }

    /// The step is not expected any more; a compensation is not either: a person has seen to it.
    fn act_skip(&mut self, command: &Command) -> Result<(), Misfit> {
        let step = self.step_in_need(command)?;
        let template_failed = self.has_need(StuckReason::TemplateFailed, Some(step));
        let fits = match self.status_of(step) {
            StepStatus::Waiting | StepStatus::CompensationFailed | StepStatus::Compensating => true,
            StepStatus::Pending | StepStatus::TimedOut | StepStatus::Failed => {
                !self.order.has_turned() || template_failed
            }
            StepStatus::Done => self.order.has_turned() && template_failed,
            StepStatus::Skipped | StepStatus::Compensated => false,
        };
        if !fits {
            return Err(self.step_misfit(Action::Skip, step, ""));
        }
        let now = self.with.now;
        let state = self.step(step);
        state.status = StepStatus::Skipped;
        state.skipped = Some(Skipped::Person);
        state.closed_at = Some(now);
        state.deadline = None;
        state.awaiting = None;
        state.withheld = false;
        state.undo.covered = state.undo.dones;
        self.resolve(step);
        self.withdraw_turn(step);
        Ok(())
    }

    fn act_extend(&mut self, command: &Command, by: Span) -> Result<(), Misfit> {
        let now = self.with.now;
        let whole_order = command.step.is_none()
            && (self.has_need(StuckReason::OrderOverdue, None)
                || self.order.life.needs.iter().all(|need| need.step.is_none()));
        if whole_order {
            let deadline = self.order.life.deadline.unwrap_or(now).max(now);
            self.order.life.deadline = Some(deadline + by);
            self.order.life.needs.retain(|need| need.reason != StuckReason::OrderOverdue);
            return Ok(());
        }
        let step = self.step_in_need(command)?;
        let overdue = self.has_need(StuckReason::CompensationOverdue, Some(step));
        match self.status_of(step) {
            StepStatus::Waiting | StepStatus::Compensating => {
                let state = self.step(step);
                if state.deadline.is_none() && state.awaiting.is_none() {
                    return Err(self.step_misfit(command.action, step, ", and has no deadline"));
                }
                state.deadline = Some(state.deadline.unwrap_or(now).max(now) + by);
            }
            StepStatus::TimedOut if !self.order.has_turned() => {
                self.wait_until(step, Some(now + by));
                self.withdraw_turn(step);
            }
            StepStatus::CompensationFailed if overdue => {
                self.resolve(step);
                let state = self.step(step);
                state.status = StepStatus::Compensating;
                state.deadline = Some(now + by);
            }
            StepStatus::Pending
            | StepStatus::Done
            | StepStatus::Failed
            | StepStatus::TimedOut
            | StepStatus::Skipped
            | StepStatus::Compensated
            | StepStatus::CompensationFailed => return Err(self.step_misfit(command.action, step, "")),
        }
        Ok(())
    }

    fn act_compensate(&mut self, command: &Command) -> Result<(), Misfit> {
        self.may_send(Action::Compensate)?;
        if self.order.has_turned() {
            return Err(self.misfit(Action::Compensate, "is on its way back already"));
        }
        self.turn_back(Cause::Command, true);
        if let Some(turn) = &mut self.order.life.turn {
            turn.reason.clone_from(&command.reason);
        }
        Ok(())
    }

    /// What is withheld and meant by the command: of one step, or all of it.
    fn withheld_needs(&self, command: &Command) -> Vec<Need> {
        let turned = self.order.has_turned();
        let meant = |need: &&Need| {
            let named = command.step.is_none() || need.step == command.step || (turned && need.step.is_none());
            named && WITHHELD.contains(&need.reason)
        };
        self.order.life.needs.iter().filter(meant).cloned().collect()
    }

    /// Held or unproven: decided anew, and a person vouches for it.
    fn act_release(&mut self, command: &Command) -> Result<(), Misfit> {
        let needs = self.withheld_needs(command);
        if needs.is_empty() {
            return Err(self.misfit(Action::Release, "is neither held nor unproven nor withheld in mode observe"));
        }
        self.may_send(Action::Release)?;
        self.order.life.needs.retain(|need| !needs.contains(need));
        if let Some(turn) = self.order.life.turn.as_mut().filter(|turn| matches!(turn.phase, TurnPhase::Turned(_))) {
            turn.vouched = true;
            return Ok(());
        }
        for need in needs {
            if !self.order.has_turned() {
                self.decide_anew(need.step);
            }
        }
        Ok(())
    }

    fn decide_anew(&mut self, step: Option<StepIx>) {
        let Some(step) = step else {
            self.decide_turn(Cause::Cancelled, true);
            return;
        };
        if self.status_of(step) == StepStatus::Failed {
            self.decide_turn(Cause::Failed(step), true);
        } else if self.can_retry(step) {
            if self.wait_again(step) {
                self.withdraw_turn(step);
                self.send_retry(step);
            }
        } else if self.saga.steps[step].on_timeout == OnTimeout::Compensate {
            self.decide_turn(Cause::TimedOut(step), true);
        } else {
            self.need(StuckReason::TimedOut, Some(step), None);
        }
    }

    /// What was withheld is left as `alert` would leave it.
    fn act_drop(&mut self, command: &Command) -> Result<(), Misfit> {
        let needs = self.withheld_needs(command);
        if self.order.has_turned() || needs.is_empty() {
            return Err(self.misfit(Action::Drop, "has nothing that is held, unproven or withheld before turning back"));
        }
        self.order.life.needs.retain(|need| !needs.contains(need));
        for need in needs {
            let Some(step) = need.step else {
                self.order.life.cancelled = None;
                continue;
            };
            self.step(step).withheld = false;
            let failed = self.status_of(step) == StepStatus::Failed;
            self.need(if failed { StuckReason::Failed } else { StuckReason::TimedOut }, Some(step), None);
        }
        if self.order.life.turn.as_ref().is_some_and(|turn| turn.phase == TurnPhase::Withheld) {
            self.choose_turn();
        }
        Ok(())
    }

    fn act_close(&mut self) {
        self.withdrawn = true;
        self.order.life.turn = self.order.life.turn.take().filter(|turn| matches!(turn.phase, TurnPhase::Turned(_)));
        self.end(Status::Closed);
    }
}
