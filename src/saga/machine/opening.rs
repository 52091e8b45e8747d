//! Rule 3: which steps open now, what opening them decides, and when the order is complete.
//!
//! A step opens when all it comes after are done, skipped, or conditional and not triggered. What an expression says about it
//! (`if`, `count`, `within`) is evaluated at that moment and kept, never looked at again.

use serde_json::Value;

use crate::saga::definition::{Saga, StepIx, Within};
use crate::saga::expression::Computed;
use crate::saga::order::{Cause, Order, Skipped, Status, StepState, StepStatus, StuckReason};
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
            let lost = state.failure.take().map(|failure| (failure.name, "the events counted".to_owned()));
            self.lost.extend(lost);
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
            && !condition.holds(&self.opening_scope(step, condition.variables()))?
        {
            return Ok(skipped);
        }
        let expected = match &definition.count {
            None => None,
            Some(count) => match count.eval(&self.opening_scope(step, count.variables()))? {
                Computed::Json(Value::Number(number)) if number.as_u64().is_some() => number.as_u64(),
                other => return Err(format!("`{}` gives {other:?}, not a whole number", count.source())),
            },
        };
        Ok(Opening { skipped: false, expected, deadline: self.fresh_deadline(step)? })
    }

    /// When the step is overdue if it opens, or waits anew, now. Never a moment before now: the watermark has passed that already,
    /// and an answer published in time may still wait in the tap (rule 6).
    pub(super) fn fresh_deadline(&self, step: StepIx) -> Result<Option<Moment>, String> {
        let now = self.with.now;
        match &self.saga.steps[step].within {
            None => Ok(None),
            Some(Within::Fixed(span)) => Ok(Some(now + *span)),
            Some(Within::Computed(expression)) => {
                match expression.eval(&self.opening_scope(step, expression.variables()))? {
                    Computed::Span(span) => Ok(Some(now + span.max(WITHIN_MIN))),
                    Computed::Moment(moment) => Ok(Some(moment.max(now))),
                    Computed::Json(Value::String(text)) => match (Span::parse(&text), Moment::parse(&text)) {
                        (Ok(span), _) => Ok(Some(now + span)),
                        (Err(_), Some(moment)) => Ok(Some(moment.max(now))),
                        (Err(error), None) => Err(format!("`{}`: {error}", expression.source())),
                    },
                    Computed::Json(other) => {
                        Err(format!("`{}` gives {other}, not a duration or a moment", expression.source()))
                    }
                }
            }
        }
    }

    /// All done beats a cancellation, or the failure of a root nobody saw, that is not decided yet (rule 1).
    fn complete(&mut self) {
        let failed = self.order.life.turn.take().and_then(|turn| match turn.cause {
            Cause::Failed(step) => self.order.steps[step].failure.clone(),
            Cause::TimedOut(_) | Cause::Cancelled | Cause::Command => None,
        });
        let lost = failed.into_iter().chain(self.order.life.cancelled.take());
        let lost = lost.map(|cancelled| (cancelled.name, "completion".to_owned()));
        self.lost.extend(lost);
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
    let beginning = super::doubt::in_beginning(saga, order);
    let counts = |step: &StepIx| !(beginning && saga.is_root(*step));
    let all_pass = (0..saga.steps.len()).filter(counts).all(|step| passes(saga, order, step));
    let something_done = || order.steps.iter().any(|step| step.status == StepStatus::Done);
    all_pass && (!beginning || something_done())
}

/// Journal sequence of the message that opened `step`, and that a retry re-sends: the last of those it comes after, or its own
/// trigger. After a join the definition says whose. Where the step before was skipped, what opened that one counts.
pub fn opener(saga: &Saga, order: &Order, step: StepIx) -> Option<u64> {
    let definition = &saga.steps[step];
    let named = definition.retry.as_ref().and_then(|retry| retry.message);
    if let Some(seen) = named.and_then(|named| order.steps[named].event.as_ref()) {
        return Some(seen.sequence);
    }
    let trigger = order.steps[step].trigger.as_ref().map(|trigger| trigger.sequence);
    let before = definition.after.iter().filter_map(|&before| {
        order.steps[before].event.as_ref().map(|seen| seen.sequence).or_else(|| opener(saga, order, before))
    });
    trigger.into_iter().chain(before).max()
}

/// The steps expected so far: without conditional ones not triggered and skipped ones (`progress.total`).
pub fn expected_steps<'o>(saga: &'o Saga, order: &'o Order) -> impl Iterator<Item = StepIx> + 'o {
    (0..saga.steps.len().min(order.steps.len())).filter(|&step| {
        let state = &order.steps[step];
        state.status != StepStatus::Skipped
            && !(state.status == StepStatus::Pending && is_untriggered(saga, state, step))
    })
}
