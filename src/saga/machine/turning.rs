//! Rules 7, 9, 11 and 14: whether an order turns back, and what keeps it from it.
//!
//! ```text
//!   failed, cancelled ──▶ due at once ──watermark──▶ decided ──▶ turned: opens and retries nothing more
//!   timed out ───────────────────────────────────────▶   └────▶ withheld: observe · unproven · held
//! ```
//!
//! A failure or a cancellation is a deadline due at once, so that what was published before it is known first. A timeout
//! is decided where it fires: the watermark has passed it already.

use crate::faults::{Bug, is_planted};
use crate::saga::definition::{Mode, OnFailure, OnTimeout, StepIx};
use crate::saga::order::{Cause, StepStatus, StuckReason, Turn, TurnPhase, Unproven};

use super::Machine;

/// Why a turning back is not decided: a person releases or drops it.
pub(super) const WITHHELD: [StuckReason; 3] = [StuckReason::Held, StuckReason::Unproven, StuckReason::Observe];

impl Machine<'_> {
    pub(super) fn observes(&self) -> bool {
        self.with.mode == Mode::Observe && !is_planted(Bug::ObserveAsks)
    }

    /// Asks for a turning back that is decided when the watermark has passed this moment (rule 7).
    ///
    /// What is withheld gives way: a new word of a service does not wait behind it. Of two that are not decided, a cancellation is
    /// the cause; both are known when it is decided.
    pub(super) fn request_turn(&mut self, cause: Cause) {
        let phase = match self.order.life.turn.as_ref().map(|turn| turn.phase) {
            None | Some(TurnPhase::Withheld) if is_planted(Bug::TurnAtOnce) => TurnPhase::Due(self.order.created_at),
            None | Some(TurnPhase::Withheld) => TurnPhase::Due(self.with.now),
            Some(TurnPhase::Due(at)) if cause == Cause::Cancelled => TurnPhase::Due(at),
            Some(TurnPhase::Due(_) | TurnPhase::Turned(_)) => return,
        };
        self.set_turn(cause, phase);
    }

    fn set_turn(&mut self, cause: Cause, phase: TurnPhase) {
        let reason = self.reason_of(cause);
        self.order.life.turn = Some(Turn { cause, phase, vouched: false, reason });
    }

    /// `step` no longer speaks for turning back; another cause may.
    pub(super) fn withdraw_turn(&mut self, step: StepIx) {
        let concerns = self.order.life.turn.as_ref().is_some_and(|turn| step_of(turn.cause) == Some(step));
        if concerns && !self.order.has_turned() {
            self.choose_turn();
        }
    }

    /// Finds what speaks for turning back now: first what is not decided yet, then what is withheld.
    pub(super) fn choose_turn(&mut self) {
        let cancelled = self.order.life.cancelled.as_ref().map(|_| Cause::Cancelled);
        let steps = (0..self.order.steps.len()).filter_map(|step| self.speaks_for_turning(step));
        let causes: Vec<Cause> = cancelled.into_iter().chain(steps).collect();
        self.order.life.turn = None;
        if let Some(cause) = causes.iter().find(|cause| !self.is_withheld(step_of(**cause))) {
            self.set_turn(*cause, TurnPhase::Due(self.with.now));
        } else if let Some(cause) = causes.first() {
            self.set_turn(*cause, TurnPhase::Withheld);
        }
    }

    /// A failure does until a person left it as an alert; a timeout only where its turning back was withheld.
    fn speaks_for_turning(&self, step: StepIx) -> Option<Cause> {
        let definition = &self.saga.steps[step];
        match self.status_of(step) {
            StepStatus::Failed => {
                let speaks =
                    definition.on_failure == OnFailure::Compensate && !self.has_need(StuckReason::Failed, Some(step));
                speaks.then_some(Cause::Failed(step))
            }
            StepStatus::TimedOut => {
                let speaks = definition.on_timeout == OnTimeout::Compensate && self.is_withheld(Some(step));
                speaks.then_some(Cause::TimedOut(step))
            }
            StepStatus::Pending
            | StepStatus::Waiting
            | StepStatus::Done
            | StepStatus::Skipped
            | StepStatus::Compensating
            | StepStatus::Compensated
            | StepStatus::CompensationFailed => None,
        }
    }

    /// Decided against acting, about this step or (a cancellation) the order.
    pub(super) fn is_withheld(&self, step: Option<StepIx>) -> bool {
        WITHHELD.iter().any(|reason| self.has_need(*reason, step))
    }

    /// Decides about turning back, on the facts known now. Returns the doubts that held it, for the trail.
    pub(super) fn decide_turn(&mut self, cause: Cause, vouched: bool) -> Vec<Unproven> {
        let step = step_of(cause);
        let doubts = match cause {
            Cause::TimedOut(step) => self.unproven_about(step),
            Cause::Failed(_) | Cause::Cancelled | Cause::Command => self.unproven(),
        };
        if self.observes() && !vouched {
            self.would_send = self.compensations_to_ask();
            self.withhold_turn(cause, StuckReason::Observe);
            return Vec::new();
        }
        if !doubts.is_empty() && !vouched {
            if let Some(step) = step {
                self.step(step).withheld = true;
            }
            self.withhold_turn(cause, StuckReason::Unproven);
        } else if matches!(cause, Cause::TimedOut(_)) && self.with.braked && !vouched {
            self.held = true;
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
            self.set_turn(cause, TurnPhase::Withheld);
        }
    }

    /// The order is on its way back from here (rule 11). What needed a person for going on does not any more.
    pub(super) fn turn_back(&mut self, cause: Cause, vouched: bool) {
        let now = self.with.now;
        self.set_turn(cause, TurnPhase::Turned(now));
        if let Some(turn) = &mut self.order.life.turn {
            turn.vouched = vouched;
        }
        // What a person releases passes by the brake, and is not counted by it.
        self.turned_by_timeout |= matches!(cause, Cause::TimedOut(_)) && !vouched && !is_planted(Bug::BrakeNotCounted);
        self.order.life.needs.retain(|need| need.reason == StuckReason::OrderOverdue);
        self.take_back_retries();
        for step in &mut self.order.steps {
            step.withheld = false;
            // Some of what a counted step needs has come before it could open: that has happened, and no more is expected.
            if step.status == StepStatus::Pending && step.undo.dones > 0 {
                step.status = StepStatus::Done;
                step.early = true;
                step.opened_at.get_or_insert(now);
                step.closed_at = Some(now);
            }
        }
    }

    /// A retry that is not sent yet could make happen what is about to be undone. It counts as withheld now, and the step waits on.
    fn take_back_retries(&mut self) {
        for step in 0..self.order.steps.len() {
            if self.status_of(step) == StepStatus::Waiting && self.order.steps[step].awaiting.take().is_some() {
                self.withdrawn = true;
                if self.order.steps[step].deadline.is_none() {
                    self.arm_next_retry(step);
                }
            }
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
