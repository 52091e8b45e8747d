//! What is true of one order at this moment: the pure ground under [`super::view`] and [`super::why`].
//!
//! ```text
//!   Order + Saga + doubts + statistics + mode + watermark + now ──▶ Facts ──▶ waits, next, progress, unproven
//! ```
//!
//! Nothing here reads a clock or a store, so each answer can be tested as a table.

use std::collections::BTreeSet;

use crate::saga::catalog::Catalog;
use crate::saga::definition::{Mode, OnFailure, OnTimeout, Saga, Step, StepIx, Within};
use crate::saga::expression::Expression;
use crate::saga::machine;
use crate::saga::order::{Doubt, Order, Status, StepStatus, StuckReason, TurnPhase, Unproven};
use crate::saga::queue::QueueFinding;
use crate::saga::time::{Moment, Span};
use crate::store::StepStats;

/// Fewer samples than this say nothing about how long a step usually takes.
pub const SAMPLES_MIN: u64 = 30;

/// Everything an answer about one order may depend on.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    pub order: &'a Order,
    /// The version the order is on, or a stand-in ([`stand_in`]).
    pub saga: &'a Saga,
    /// Whether `saga` is the real definition.
    pub is_known: bool,
    pub mode: Mode,
    pub doubts: &'a [Doubt],
    /// Of the order's saga.
    pub stats: &'a [StepStats],
    pub watermark: Option<Moment>,
    /// What is known of the queues this saga's services consume.
    pub queues: &'a [QueueFinding],
    /// By the database's clock.
    pub now: Moment,
}

/// Something the order waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wait {
    pub step: StepIx,
    /// The events that would end it; empty while the broker's word on a compensation is awaited.
    pub events: Vec<String>,
    pub since: Option<Moment>,
    pub deadline: Option<Moment>,
    /// The watermark has passed the deadline: it did not come.
    pub overdue: bool,
    /// The deadline has passed, the watermark has not: it may have come and not been read yet.
    pub due: bool,
    /// It is the undoing of the step that is awaited.
    pub is_undoing: bool,
    /// The queue of the service that is to answer, as it was found since.
    pub queue: Option<QueueFinding>,
}

/// What happens next by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NextWhat {
    Retry,
    TimeOut,
    RetryCompensation,
    CompensationOverdue,
    TurnBack,
    OrderOverdue,
}

impl NextWhat {
    /// The word the API uses for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Retry => "retry",
            Self::TimeOut => "time_out",
            Self::RetryCompensation => "retry_compensation",
            Self::CompensationOverdue => "compensation_overdue",
            Self::TurnBack => "turn_back",
            Self::OrderOverdue => "order_overdue",
        }
    }
}

/// The next thing to happen, unless an event comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Next {
    pub at: Moment,
    pub step: Option<StepIx>,
    pub what: NextWhat,
}

impl<'a> Facts<'a> {
    /// The definition of a step.
    pub fn step(&self, ix: StepIx) -> &'a Step {
        &self.saga.steps[ix]
    }

    /// What is awaited, longest first.
    pub fn waits(&self) -> Vec<Wait> {
        let steps = self.order.waiting_on().filter(|&ix| ix < self.saga.steps.len());
        let mut waits: Vec<Wait> = steps.map(|ix| self.wait(ix)).collect();
        waits.sort_by_key(|wait| (wait.since, wait.step));
        waits
    }

    fn wait(&self, ix: StepIx) -> Wait {
        let state = &self.order.steps[ix];
        let is_undoing = matches!(state.status, StepStatus::Compensating | StepStatus::CompensationFailed);
        let deadline = state.deadline.or_else(|| if is_undoing { None } else { self.first_deadline(ix) });
        let given_up = matches!(state.status, StepStatus::TimedOut | StepStatus::CompensationFailed)
            || self.order.life.needs.iter().any(|it| it.step == Some(ix) && is_overdue(it.reason));
        let passed = |by: Moment| deadline.is_some_and(|deadline| deadline <= by);
        let overdue = given_up || self.watermark.is_some_and(passed);
        let since = if is_undoing { state.undo.confirmed_at.or(self.turned_at()) } else { state.opened_at };
        Wait {
            step: ix,
            events: if is_undoing { self.saga.awaited_compensation(ix) } else { self.saga.awaited(ix) },
            since,
            deadline,
            overdue,
            due: !overdue && passed(self.now),
            is_undoing,
            queue: self.queue(ix, is_undoing, since).cloned(),
        }
    }

    /// What is known of the queue whose service answers a step, or its undoing. What was seen before the wait began says nothing
    /// about it, and what was seen long ago nothing about now.
    fn queue(&self, ix: StepIx, is_undoing: bool, since: Option<Moment>) -> Option<&'a QueueFinding> {
        let queue = if is_undoing { self.step(ix).undo_queue() } else { self.step(ix).queue() }?;
        let finding = self.queues.iter().find(|finding| finding.queue == queue)?;
        (finding.is_fresh(self.now) && since.is_none_or(|since| since <= finding.at)).then_some(finding)
    }

    /// When a step that is no longer armed became overdue first; `None` where it was computed.
    fn first_deadline(&self, ix: StepIx) -> Option<Moment> {
        match &self.step(ix).within {
            Some(Within::Fixed(span)) => Some(self.order.steps[ix].opened_at? + *span),
            Some(Within::Computed(_)) | None => None,
        }
    }

    fn turned_at(&self) -> Option<Moment> {
        match self.order.life.turn.as_ref()?.phase {
            TurnPhase::Turned(at) => Some(at),
            TurnPhase::Due(_) | TurnPhase::Withheld => None,
        }
    }

    /// The next thing that happens without an event; `None` when nothing is armed.
    pub fn next(&self) -> Option<Next> {
        let steps = self.order.steps.iter().enumerate().filter_map(|(ix, state)| {
            let what = match state.status {
                StepStatus::Compensating | StepStatus::Compensated | StepStatus::CompensationFailed => {
                    if self.undo_retries_left(ix) > 0 {
                        NextWhat::RetryCompensation
                    } else {
                        NextWhat::CompensationOverdue
                    }
                }
                StepStatus::Pending
                | StepStatus::Waiting
                | StepStatus::Done
                | StepStatus::Failed
                | StepStatus::TimedOut
                | StepStatus::Skipped => {
                    if self.retries_left(ix) > 0 && !self.order.has_turned() {
                        NextWhat::Retry
                    } else {
                        NextWhat::TimeOut
                    }
                }
            };
            Some(Next { at: state.deadline?, step: Some(ix), what })
        });
        let turn = self.order.life.turn.as_ref().and_then(|turn| match turn.phase {
            TurnPhase::Due(at) => Some(Next { at, step: None, what: NextWhat::TurnBack }),
            TurnPhase::Withheld | TurnPhase::Turned(_) => None,
        });
        // Past it the order is stuck and nothing more: for a stuck one that is no news.
        let whole = self.order.life.deadline.filter(|_| self.order.life.status != Status::Stuck);
        let whole = whole.map(|at| Next { at, step: None, what: NextWhat::OrderOverdue });
        steps.chain(turn).chain(whole).min_by_key(|next| next.at)
    }

    /// Retries of a step not used up.
    pub fn retries_left(&self, ix: StepIx) -> u32 {
        let times = self.step(ix).retry.as_ref().map_or(0, |retry| retry.cadence.times);
        times.saturating_sub(self.order.steps[ix].attempts)
    }

    fn undo_retries_left(&self, ix: StepIx) -> u32 {
        let cadence = self.step(ix).compensation.as_ref().and_then(|undo| undo.retry);
        let sent_again = self.order.steps[ix].undo.attempts.saturating_sub(1);
        cadence.map_or(0, |cadence| cadence.times).saturating_sub(sent_again)
    }

    /// Steps done, and steps expected so far: without conditional ones not triggered, and skipped ones.
    pub fn progress(&self) -> (usize, usize) {
        let states = || self.order.steps.iter().enumerate();
        let is_untriggered = |ix: StepIx| {
            let state = &self.order.steps[ix];
            !self.step(ix).when.is_empty() && state.trigger.is_none() && state.status == StepStatus::Pending
        };
        let done = states().filter(|(_, state)| state.status == StepStatus::Done).count();
        let total = states().filter(|(ix, state)| state.status != StepStatus::Skipped && !is_untriggered(*ix)).count();
        (done, total)
    }

    /// The statistics of a step, where there are enough samples.
    pub fn usual(&self, ix: StepIx) -> Option<&'a StepStats> {
        let name = &self.step(ix).name;
        self.stats.iter().find(|it| it.version == self.saga.version && it.step == *name && it.samples >= SAMPLES_MIN)
    }

    /// Why the order is unproven (rule 8).
    pub fn unproven(&self) -> Vec<Unproven> {
        if self.is_known { machine::unproven(self.saga, self.order, self.doubts) } else { Vec::new() }
    }
}

fn is_overdue(reason: StuckReason) -> bool {
    match reason {
        StuckReason::TimedOut | StuckReason::CompensationOverdue => true,
        StuckReason::Failed
        | StuckReason::OrderOverdue
        | StuckReason::CompensationUnroutable
        | StuckReason::CompensationRefused
        | StuckReason::CompensationFailed
        | StuckReason::TemplateFailed
        | StuckReason::Held
        | StuckReason::Unproven
        | StuckReason::Observe => false,
    }
}

/// The definition an order is on, or `None` when this Escrow does not hold it or it does not fit the order.
pub fn definition<'a>(catalog: &'a Catalog, order: &Order) -> Option<&'a Saga> {
    let saga = catalog.version(&order.key.saga, order.version)?;
    (saga.steps.len() == order.steps.len()).then_some(saga.as_ref())
}

/// A definition that names the steps of an order by number, for orders whose own one is not here: they must still be seen.
pub fn stand_in(order: &Order) -> Saga {
    let step = |ix: usize| Step {
        name: format!("#{ix}"),
        after: Vec::new(),
        when: Vec::new(),
        condition: None::<Expression>,
        done: Vec::new(),
        failed: Vec::new(),
        on_failure: OnFailure::Alert,
        within: None,
        retry: None,
        on_timeout: OnTimeout::Alert,
        late: crate::saga::definition::Late::Ignore,
        compensation: None,
        count: None,
        by: Vec::new(),
        handled_by: None,
    };
    Saga {
        name: order.key.saga.clone(),
        version: order.version,
        mode: Mode::Observe,
        watch: Vec::new(),
        attributes: Vec::new(),
        steps: (0..order.steps.len()).map(step).collect(),
        cancelled_by: Vec::new(),
        within: Span::default(),
        brake: None,
        notify: BTreeSet::default(),
        text: String::new(),
        fingerprint: [0; 32],
        roles: std::collections::BTreeMap::default(),
    }
}
