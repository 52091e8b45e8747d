//! Rules 7, 9, 11 and 14: whether an order turns back, and what keeps it from it.
//!
//! ```text
//!   failed, cancelled ──▶ due at once ──watermark──▶ decided ──▶ turned: opens and retries nothing more
//!   timed out ───────────────────────────────────────▶   └────▶ withheld: observe · unproven · held
//! ```
//!
//! A failure or a cancellation is a deadline due at once, so that what was published before it is known first. A timeout
//! is decided where it fires: the watermark has passed it already.

use crate::saga::definition::{Mode, OnFailure, OnTimeout, StepIx};
use crate::saga::order::{Cause, StepStatus, StuckReason, Turn, TurnPhase, Unproven};

use super::Machine;

impl Machine<'_> {
    pub(super) fn observes(&self) -> bool {
        self.with.mode == Mode::Observe
    }

    /// Asks for a turning back that is decided when the watermark has passed this moment (rule 7).
    pub(super) fn request_turn(&mut self, cause: Cause) {
        let due = TurnPhase::Due(self.with.now);
        let replaceable = match &self.order.life.turn {
            None => true,
            // A failure is the service's own word: it does not wait behind a timeout that is held.
            Some(turn) => turn.phase == TurnPhase::Withheld && matches!(turn.cause, Cause::TimedOut(_)),
        };
        if replaceable {
            let reason = self.reason_of(cause);
            self.order.life.turn = Some(Turn { cause, phase: due, vouched: false, reason });
        }
    }

    /// `step` no longer speaks for turning back; another cause may.
    pub(super) fn withdraw_turn(&mut self, step: StepIx) {
        let concerns = self.order.life.turn.as_ref().is_some_and(|turn| {
            !matches!(turn.phase, TurnPhase::Turned(_))
                && matches!(turn.cause, Cause::Failed(at) | Cause::TimedOut(at) if at == step)
        });
        if !concerns {
            return;
        }
        self.order.life.turn = None;
        if self.order.life.cancelled.is_some() {
            return self.request_turn(Cause::Cancelled);
        }
        let others = || (0..self.order.steps.len()).filter(|&other| other != step);
        let failed = others().find(|&other| {
            self.status_of(other) == StepStatus::Failed
                && self.saga.steps[other].on_failure == OnFailure::Compensate
                && !self.has_need(StuckReason::Failed, Some(other))
        });
        if let Some(failed) = failed {
            return self.request_turn(Cause::Failed(failed));
        }
        let withheld = [StuckReason::Held, StuckReason::Unproven, StuckReason::Observe];
        let timed_out = others().find(|&other| {
            self.status_of(other) == StepStatus::TimedOut
                && self.saga.steps[other].on_timeout == OnTimeout::Compensate
                && withheld.iter().any(|reason| self.has_need(*reason, Some(other)))
        });
        if let Some(step) = timed_out {
            let cause = Cause::TimedOut(step);
            let reason = self.reason_of(cause);
            self.order.life.turn = Some(Turn { cause, phase: TurnPhase::Withheld, vouched: false, reason });
        }
    }

    /// Decides about turning back, on the facts known now. Returns the doubts that held it, for the trail.
    pub(super) fn decide_turn(&mut self, cause: Cause, vouched: bool) -> Vec<Unproven> {
        let step = step_of(cause);
        let doubts = match cause {
            Cause::TimedOut(step) => self.unproven_about(step),
            Cause::Failed(_) | Cause::Cancelled | Cause::Command => self.unproven(),
        };
        if self.observes() {
            self.would_send = self.compensations_to_ask();
            self.withhold_turn(cause, StuckReason::Observe);
        } else if !doubts.is_empty() && !vouched {
            if let Some(step) = step {
                self.step(step).withheld = true;
            }
            self.withhold_turn(cause, StuckReason::Unproven);
        } else if matches!(cause, Cause::TimedOut(_)) && self.with.braked && !vouched {
            self.withhold_turn(cause, StuckReason::Held);
        } else {
            self.turn_back(cause, vouched);
        }
        doubts
    }

    fn withhold_turn(&mut self, cause: Cause, reason: StuckReason) {
        self.need(reason, step_of(cause), None);
        let keeps = self.order.life.turn.as_ref().is_some_and(|turn| turn.cause != cause);
        if !keeps {
            let reason = self.reason_of(cause);
            self.order.life.turn = Some(Turn { cause, phase: TurnPhase::Withheld, vouched: false, reason });
        }
    }

    /// The order is on its way back from here (rule 11). What needed a person for going on does not any more.
    pub(super) fn turn_back(&mut self, cause: Cause, vouched: bool) {
        let reason = match &self.order.life.turn {
            Some(turn) if turn.cause == cause => turn.reason.clone(),
            Some(_) | None => self.reason_of(cause),
        };
        self.turned_by_timeout = matches!(cause, Cause::TimedOut(_));
        self.order.life.turn = Some(Turn { cause, phase: TurnPhase::Turned(self.with.now), vouched, reason });
        self.order.life.needs.retain(|need| need.reason == StuckReason::OrderOverdue);
        for step in &mut self.order.steps {
            step.withheld = false;
        }
    }

    fn reason_of(&self, cause: Cause) -> String {
        match cause {
            Cause::Failed(step) => format!("{} failed", self.saga.steps[step].name),
            Cause::TimedOut(step) => format!("{} timed out", self.saga.steps[step].name),
            Cause::Cancelled => "cancelled".to_owned(),
            Cause::Command => "compensated by a person".to_owned(),
        }
    }
}

pub(super) fn step_of(cause: Cause) -> Option<StepIx> {
    match cause {
        Cause::Failed(step) | Cause::TimedOut(step) => Some(step),
        Cause::Cancelled | Cause::Command => None,
    }
}
