//! Rule 8: what keeps an order from acting.
//!
//! An order is unproven while something may have been missed. It tells and alerts all the same, but asks nothing of the
//! services by itself. Gaps and quarantined messages are rows, not marks on orders: which orders they concern is decided
//! here, each time anew.

use crate::faults::{Bug, is_planted};
use crate::saga::definition::{Saga, StepIx};
use crate::saga::order::{Doubt, DoubtKind, Order, Skipped, StepStatus, StuckReason, TurnPhase, Unproven};
use crate::saga::time::Moment;

use super::{Machine, Note, ResultOf};

/// Why the order is unproven now; empty when nothing speaks against acting.
pub fn unproven(saga: &Saga, order: &Order, doubts: &[Doubt]) -> Vec<Unproven> {
    let concerned = |kind| doubts.iter().any(|doubt| doubt.kind == kind && concerns(saga, order, doubt));
    let mut reasons = Vec::new();
    let mut add = |holds: bool, reason| {
        if holds {
            reasons.push(reason);
        }
    };
    add(in_beginning(saga, order), Unproven::Beginning);
    add(concerned(DoubtKind::Gap), Unproven::Gap);
    add(concerned(DoubtKind::Quarantine), Unproven::Quarantine);
    add(order.life.inferred, Unproven::Inferred);
    let overdue = (0..order.steps.len()).filter(|step| order.steps[*step].status == StepStatus::TimedOut);
    add(overdue.into_iter().any(|step| has_evidence(saga, order, step)), Unproven::Evidence);
    add(order.life.reopened, Unproven::Completed);
    reasons
}

/// No step without `after` and `when` is done: the order was under way when Escrow came, or that event is late.
pub(super) fn in_beginning(saga: &Saga, order: &Order) -> bool {
    !(0..saga.steps.len()).filter(|step| saga.is_root(*step)).any(|step| {
        let state = &order.steps[step];
        state.status == StepStatus::Done || state.undo.dones > 0 || state.skipped == Some(Skipped::Person)
    })
}

/// A step after the overdue one is already done: its answer was likely missed.
pub(super) fn has_evidence(saga: &Saga, order: &Order, overdue: StepIx) -> bool {
    saga.descendants(overdue).into_iter().any(|later| order.steps[later].undo.dones > 0)
}

fn concerns(saga: &Saga, order: &Order, doubt: &Doubt) -> bool {
    if doubt.saga.as_ref().is_some_and(|name| *name != saga.name) {
        return false;
    }
    if let Some(order_id) = &doubt.order_id {
        // What an earlier version did not wait for may have been missed: a doubt while it is waited for.
        let matters =
            doubt.kind != DoubtKind::Gap || doubt.event.as_ref().is_none_or(|event| waits_for(saga, order, event));
        return *order_id == order.key.order_id && matters;
    }
    let was_open = order.created_at <= doubt.to && order.life.ended_at.is_none_or(|ended| ended >= doubt.from);
    was_open && doubt.event.as_ref().is_none_or(|event| waits_for(saga, order, event))
}

fn waits_for(saga: &Saga, order: &Order, event: &str) -> bool {
    order.steps.iter().enumerate().any(|(step, state)| match state.status {
        StepStatus::Pending | StepStatus::Waiting | StepStatus::TimedOut | StepStatus::Failed => {
            saga.steps[step].done.iter().any(|pattern| pattern.event == event)
        }
        StepStatus::Compensating | StepStatus::CompensationFailed => {
            saga.steps[step].compensation.iter().flat_map(|undo| &undo.done).any(|pattern| pattern.event == event)
        }
        StepStatus::Done | StepStatus::Skipped | StepStatus::Compensated => false,
    })
}

impl Machine<'_> {
    pub(super) fn unproven(&self) -> Vec<Unproven> {
        if is_planted(Bug::UnprovenActs) {
            return Vec::new();
        }
        unproven(self.saga, &self.order, self.with.doubts)
    }

    /// The doubts about acting on an overdue step: the order's, and the evidence against this very step.
    pub(super) fn unproven_about(&self, step: StepIx) -> Vec<Unproven> {
        let mut reasons = self.unproven();
        if !reasons.contains(&Unproven::Evidence) && has_evidence(self.saga, &self.order, step) {
            reasons.push(Unproven::Evidence);
            reasons.sort_unstable();
        }
        reasons
    }

    /// When the last reason went by itself: steps that timed out meanwhile wait again, and a turning back that was withheld is
    /// decided anew.
    pub(super) fn reinstate(&mut self) {
        let withheld = self.order.life.needs.iter().any(|need| need.reason == StuckReason::Unproven)
            || self.order.steps.iter().any(|step| step.withheld);
        if !withheld || self.order.life.status.is_ended() || !self.unproven().is_empty() {
            return;
        }
        self.order.life.needs.retain(|need| need.reason != StuckReason::Unproven);
        for step in 0..self.order.steps.len() {
            if self.order.steps[step].withheld && self.status_of(step) == StepStatus::TimedOut {
                self.wait_again(step);
            } else {
                self.step(step).withheld = false;
            }
        }
        if self.order.life.turn.as_ref().is_some_and(|turn| turn.phase == TurnPhase::Withheld) {
            self.choose_turn();
        }
    }

    /// The step waits anew, with a fresh `within`; `false` if that cannot be said, and a person is needed.
    pub(super) fn wait_again(&mut self, step: StepIx) -> bool {
        match self.fresh_deadline(step) {
            Ok(deadline) => {
                self.wait_until(step, deadline);
                true
            }
            Err(error) => {
                self.need(StuckReason::TemplateFailed, Some(step), Some(error));
                false
            }
        }
    }

    pub(super) fn wait_until(&mut self, step: StepIx, deadline: Option<Moment>) {
        self.resolve(step);
        let state = self.step(step);
        state.status = StepStatus::Waiting;
        state.closed_at = None;
        state.deadline = deadline;
        state.failure = None;
        state.withheld = false;
        state.late = false;
        state.live = false;
    }

    /// A doubt may have gone.
    pub(super) fn reconsider(&mut self) -> ResultOf {
        self.settle();
        if self.order.life != self.life_before || self.order.steps != self.steps_before {
            self.conclude(crate::saga::journal::Kind::Deadline, Note::named("doubt_gone"));
        }
        ResultOf::Applied
    }
}
