//! Rule 3: which steps open now, what opening them decides, and when the order is complete.
//!
//! A step opens when all it comes after are done, skipped, or conditional and not triggered. What an expression says about it
//! (`if`, `count`, `within`) is evaluated at that moment and kept, never looked at again.

use serde_json::Value;

use crate::saga::definition::{Saga, StepIx, Within};
use crate::saga::expression::Computed;
use crate::saga::order::{Cause, Life, Order, Skipped, Status, StepState, StepStatus, StuckReason, TurnPhase};
use crate::saga::time::{Moment, Span};

use super::Machine;

/// Shortest wait a computed deadline may give, so that a moment in the past is overdue and not refused.
const WITHIN_MIN: Span = Span(0);

/// What the expressions of a step said when it opened.
struct Opening {
    skipped: bool,
    expected: Option<u64>,
    deadline: Option<Moment>,
}

impl Machine<'_> {
    /// Opens what can open until nothing changes, then ends the order if it is complete.
    pub(super) fn settle_steps(&mut self) {
        loop {
            let ready = (0..self.saga.steps.len()).find(|&step| self.can_open(step));
            let Some(step) = ready else { break };
            self.open(step);
        }
        if is_complete(self.saga, &self.order) {
            self.complete();
        }
    }

    fn can_open(&self, step: StepIx) -> bool {
        let definition = &self.saga.steps[step];
        self.status_of(step) == StepStatus::Pending
            && (definition.when.is_empty() || self.order.steps[step].trigger.is_some())
            && definition.after.iter().all(|&before| passes(self.saga, &self.order, before))
            && !self.has_need(StuckReason::TemplateFailed, Some(step))
    }

    fn open(&mut self, step: StepIx) {
        let opening = match self.opening(step) {
            Ok(opening) => opening,
            Err(error) => return self.need(StuckReason::TemplateFailed, Some(step), Some(error)),
        };
        let (now, live, opened_by) = (self.with.now, self.live, opener(self.saga, &self.order, step));
        let state = self.step(step);
        state.opened_at = Some(now);
        if opening.skipped {
            state.status = StepStatus::Skipped;
            state.skipped = Some(Skipped::Condition);
            state.closed_at = Some(now);
            return;
        }
        state.status = StepStatus::Waiting;
        state.deadline = opening.deadline;
        state.expected = opening.expected;
        state.opened_by = opened_by;
        state.live = live;
        if self.count_is_full(step) {
            let state = self.step(step);
            state.status = StepStatus::Done;
            state.early = !state.parts.is_empty();
            state.live = false;
            state.closed_at = Some(now);
            state.deadline = None;
            return;
        }
        if let Some(failure) = self.order.steps[step].failure.clone() {
            self.fail(step, failure);
        }
    }

    fn opening(&self, step: StepIx) -> Result<Opening, String> {
        let definition = &self.saga.steps[step];
        let skipped = Opening { skipped: true, expected: None, deadline: None };
        if let Some(condition) = &definition.condition
            && !condition.holds(&self.scope(Some(step), condition.variables()))?
        {
            return Ok(skipped);
        }
        let expected = match &definition.count {
            None => None,
            Some(count) => match count.eval(&self.scope(Some(step), count.variables()))? {
                Computed::Json(Value::Number(number)) if number.as_u64().is_some() => number.as_u64(),
                other => return Err(format!("`{}` gives {other:?}, not a whole number", count.source())),
            },
        };
        Ok(Opening { skipped: false, expected, deadline: self.fresh_deadline(step)? })
    }

    /// When the step is overdue if it opens, or waits anew, now.
    pub(super) fn fresh_deadline(&self, step: StepIx) -> Result<Option<Moment>, String> {
        let now = self.with.now;
        match &self.saga.steps[step].within {
            None => Ok(None),
            Some(Within::Fixed(span)) => Ok(Some(now + *span)),
            Some(Within::Computed(expression)) => {
                match expression.eval(&self.scope(Some(step), expression.variables()))? {
                    Computed::Span(span) => Ok(Some(now + span.max(WITHIN_MIN))),
                    Computed::Moment(moment) => Ok(Some(moment)),
                    Computed::Json(Value::String(text)) => match (Span::parse(&text), Moment::parse(&text)) {
                        (Ok(span), _) => Ok(Some(now + span)),
                        (Err(_), Some(moment)) => Ok(Some(moment)),
                        (Err(error), None) => Err(format!("`{}`: {error}", expression.source())),
                    },
                    Computed::Json(other) => {
                        Err(format!("`{}` gives {other}, not a duration or a moment", expression.source()))
                    }
                }
            }
        }
    }

    /// All done beats a cancellation that is not decided yet (rule 1).
    fn complete(&mut self) {
        let undecided = self.order.life.turn.take().is_some_and(|turn| {
            turn.cause == Cause::Cancelled && matches!(turn.phase, TurnPhase::Due(_) | TurnPhase::Withheld)
        });
        if undecided {
            let lost =
                self.order.life.cancelled.as_ref().map(|cancelled| (cancelled.name.clone(), "completion".to_owned()));
            self.lost.extend(lost);
        }
        self.end(Status::Completed);
    }
}

/// Whether what comes after `step` may go on.
fn passes(saga: &Saga, order: &Order, step: StepIx) -> bool {
    let state = &order.steps[step];
    match state.status {
        StepStatus::Done | StepStatus::Skipped => true,
        StepStatus::Pending => is_untriggered(saga, state, step),
        StepStatus::Waiting
        | StepStatus::Failed
        | StepStatus::TimedOut
        | StepStatus::Compensating
        | StepStatus::Compensated
        | StepStatus::CompensationFailed => false,
    }
}

fn is_untriggered(saga: &Saga, state: &StepState, step: StepIx) -> bool {
    !saga.steps[step].when.is_empty() && state.trigger.is_none()
}

/// Whether nothing is left to expect. An order Escrow met under way is complete once everything but its roots is (rule 8).
fn is_complete(saga: &Saga, order: &Order) -> bool {
    let open = |step: &StepIx| !passes(saga, order, *step);
    let is_beginning = super::doubt::in_beginning(saga, order);
    let mut left = (0..saga.steps.len()).filter(|step| !(is_beginning && saga.is_root(*step)));
    let something_done = order.steps.iter().any(|step| step.status == StepStatus::Done);
    let held_open = is_undecided_failure(&order.life);
    something_done && !held_open && !left.any(|step| open(&step))
}

/// A failure keeps its step from being done, so it alone holds the order open; asked here to say it once.
fn is_undecided_failure(life: &Life) -> bool {
    life.turn.as_ref().is_some_and(|turn| matches!(turn.cause, Cause::Failed(_)))
}

/// Journal sequence of the message that opened `step`: what a retry re-sends. After a join the definition says whose;
/// where the step before was skipped, its own opener counts.
pub fn opener(saga: &Saga, order: &Order, step: StepIx) -> Option<u64> {
    let definition = &saga.steps[step];
    let named = definition.retry.as_ref().and_then(|retry| retry.message);
    if let Some(seen) = named.and_then(|named| order.steps[named].event.as_ref()) {
        return Some(seen.sequence);
    }
    let own = order.steps[step].trigger.as_ref().filter(|_| definition.after.is_empty());
    own.map(|trigger| trigger.sequence).or_else(|| {
        definition.after.iter().find_map(|&before| {
            order.steps[before].event.as_ref().map(|seen| seen.sequence).or_else(|| opener(saga, order, before))
        })
    })
}

/// The steps expected so far: without conditional ones not triggered and skipped ones (`progress.total`).
pub fn expected_steps<'o>(saga: &'o Saga, order: &'o Order) -> impl Iterator<Item = StepIx> + 'o {
    (0..saga.steps.len().min(order.steps.len())).filter(|&step| {
        let state = &order.steps[step];
        state.status != StepStatus::Skipped
            && !(state.status == StepStatus::Pending && is_untriggered(saga, state, step))
    })
}
