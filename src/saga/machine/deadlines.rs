//! Rules 6 and 10: what happens when something is overdue.
//!
//! The caller says up to which moment the watermark has passed; everything armed up to there fires, earliest first, each
//! with an entry of its own. A fired deadline is disarmed or moved in the same decision, so it fires once.

use crate::faults::{Bug, is_planted};
use crate::saga::definition::{OnTimeout, RetryTo, StepIx, Telling};
use crate::saga::journal::Kind;
use crate::saga::order::{Cause, Skipped, Status, StepStatus, StuckReason, TurnPhase, Unproven};
use crate::saga::outgoing::Content;
use crate::saga::time::Moment;

use super::{Machine, Note, ResultOf};

/// What is due; at the same moment, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum DueItem {
    Turn,
    Step(StepIx),
    Order,
}

impl Machine<'_> {
    pub(super) fn due(&mut self, watermark: Moment) -> ResultOf {
        let mut unchecked = is_planted(Bug::DueUnchecked);
        while let Some((_, item)) = self.earliest().filter(|(at, _)| *at <= watermark || std::mem::take(&mut unchecked))
        {
            unchecked = false;
            match item {
                DueItem::Turn => self.turn_is_due(),
                DueItem::Step(step) if self.status_of(step) == StepStatus::Compensating => {
                    self.compensation_overdue(step);
                }
                DueItem::Step(step) => self.overdue(step),
                DueItem::Order => self.order_overdue(),
            }
        }
        ResultOf::Applied
    }

    fn earliest(&self) -> Option<(Moment, DueItem)> {
        let life = &self.order.life;
        let turn = life.turn.as_ref().and_then(|turn| match turn.phase {
            TurnPhase::Due(at) => Some((at, DueItem::Turn)),
            TurnPhase::Withheld | TurnPhase::Turned(_) => None,
        });
        let steps = self.order.steps.iter().enumerate();
        let steps = steps.filter_map(|(ix, step)| Some((step.deadline?, DueItem::Step(ix))));
        steps.chain(turn).chain(life.deadline.map(|at| (at, DueItem::Order))).min()
    }

    fn turn_is_due(&mut self) {
        let Some(turn) = self.order.life.turn.clone() else { return };
        let unproven = self.decide_turn(turn.cause, false);
        let note = Note { unproven, ..Note::named("turning_back").because(turn.reason) };
        self.conclude(Kind::Deadline, note);
    }

    /// A waiting step did not report back: retries first, if any are left; then it is timed out (rule 10).
    fn overdue(&mut self, step: StepIx) {
        if self.can_retry(step) {
            return self.overdue_with_retries(step);
        }
        self.time_out(step);
        let unproven = if self.order.has_turned() { Vec::new() } else { self.on_timeout(step) };
        let mut note = Note { unproven, ..Note::named(self.saga.steps[step].name.clone()).about(step) };
        if self.has_need(StuckReason::Held, Some(step)) {
            note = note.because("held by the brake");
        }
        self.conclude(Kind::Deadline, note);
    }

    pub(super) fn can_retry(&self, step: StepIx) -> bool {
        let state = &self.order.steps[step];
        let left = self.saga.steps[step].retry.as_ref().is_some_and(|retry| state.attempts < retry.cadence.times);
        left && state.opened_by.is_some() && !self.order.has_turned()
    }

    fn overdue_with_retries(&mut self, step: StepIx) {
        let note = Note::named(self.saga.steps[step].name.clone()).about(step);
        if self.observes() {
            let would_send = vec![self.retry_in_words(step)];
            self.step(step).attempts += 1;
            self.arm_next_retry(step);
            return self.conclude(Kind::WouldSend, Note { would_send, ..note });
        }
        let unproven = self.unproven_about(step);
        if !unproven.is_empty() {
            self.time_out(step);
            self.step(step).withheld = true;
            self.need(StuckReason::Unproven, Some(step), None);
            return self.conclude(Kind::Deadline, Note { unproven, ..note });
        }
        self.send_retry(step);
        self.conclude(Kind::Retry, note);
    }

    fn time_out(&mut self, step: StepIx) {
        let now = self.with.now;
        let state = self.step(step);
        state.status = StepStatus::TimedOut;
        state.closed_at = Some(now);
        state.deadline = None;
        state.awaiting = None;
        if !is_planted(Bug::TimeoutUntold) {
            self.tell(Telling::TimedOut, Some(step));
        }
    }

    fn on_timeout(&mut self, step: StepIx) -> Vec<Unproven> {
        match self.saga.steps[step].on_timeout {
            OnTimeout::Skip => {
                let state = self.step(step);
                state.status = StepStatus::Skipped;
                state.skipped = Some(Skipped::Timeout);
                Vec::new()
            }
            OnTimeout::Alert => {
                let unproven = self.unproven_about(step);
                self.step(step).withheld = !unproven.is_empty();
                self.need(StuckReason::TimedOut, Some(step), None);
                unproven
            }
            OnTimeout::Compensate => self.decide_turn(Cause::TimedOut(step), false),
        }
    }

    /// Re-sends the message that opened the step. The next wait runs from the broker's word on it.
    pub(super) fn send_retry(&mut self, step: StepIx) {
        let Some(retry) = self.saga.steps[step].retry.clone() else { return };
        let Some(of) = self.order.steps[step].opened_by else { return };
        let attempt = self.order.steps[step].attempts + 1;
        let id = self.retry_id(step, attempt);
        let key = self.send(id, Content::Retry { of, to: retry.to, attempt });
        let state = self.step(step);
        if !is_planted(Bug::RetryForgotten) {
            state.attempts = attempt;
        }
        state.deadline = None;
        state.awaiting = Some(key);
        if is_planted(Bug::RetryFromDecision) {
            self.arm_next_retry(step);
        }
        self.tell(Telling::Retried, Some(step));
    }

    /// The message goes out under its own id; this names the attempt in the trail.
    fn retry_id(&self, step: StepIx, attempt: u32) -> String {
        let key = &self.order.key;
        let step = &self.saga.steps[step].name;
        crate::saga::outgoing::derived_id(&[&key.saga, &key.order_id, step, "retry", &attempt.to_string()]).to_string()
    }

    pub(super) fn arm_next_retry(&mut self, step: StepIx) {
        let Some(retry) = self.saga.steps[step].retry.as_ref() else { return };
        let wait = retry.cadence.wait_after(self.order.steps[step].attempts);
        let next = self.with.now + wait;
        self.step(step).deadline = Some(next);
    }

    fn retry_in_words(&self, step: StepIx) -> String {
        let name = &self.saga.steps[step].name;
        match self.saga.steps[step].retry.as_ref().map(|retry| &retry.to) {
            Some(RetryTo::Queue(queue)) => format!("retry of {name} to queue {queue}"),
            Some(RetryTo::Exchange { exchange, routing_key }) => {
                format!("retry of {name} to exchange {exchange}, key `{}`", routing_key.as_deref().unwrap_or(""))
            }
            Some(RetryTo::Original) | None => format!("retry of {name} to where it was published"),
        }
    }

    /// Past `within` of the whole order: stuck, nothing more; but what never began is closed (rule 8).
    fn order_overdue(&mut self) {
        self.order.life.deadline = None;
        let never_opened = super::doubt::in_beginning(self.saga, &self.order) && !self.order.has_turned();
        if never_opened {
            self.order.life.closed_because = Some("never_opened".to_owned());
            self.order.life.turn = None;
            self.withdrawn = true;
            self.end(Status::Closed);
            return self.record(Kind::Deadline, Note::named("never_opened"));
        }
        self.need(StuckReason::OrderOverdue, None, None);
        self.conclude(Kind::Deadline, Note::named("order"));
    }
}
