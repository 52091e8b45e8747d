//! An order as the API shows it. Field names are contract.
//!
//! Steps are named, never numbered; times are RFC 3339 in UTC; and everything is true for `as_of`, the watermark.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::facts::{Facts, Next, Wait};
use super::why;
use crate::saga::definition::StepIx;
use crate::saga::incident::About;
use crate::saga::incident::cause::Cause;
use crate::saga::order::{Need, StepState, StuckReason, Unproven};
use crate::saga::queue::QueueFinding;
use crate::saga::time::Moment;

/// One order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct OrderView {
    pub saga: String,
    pub order_id: String,
    /// The definition version the order is on: the one it began with, unless a person moved it.
    pub version: u32,
    /// `running`, `compensating`, `stuck`, `completed`, `compensated`, `cancelled`, `failed` or `closed`.
    pub status: String,
    pub progress: ProgressView,
    /// What is awaited, longest first.
    pub waiting_on: Vec<WaitView>,
    /// In the order of the definition.
    pub steps: Vec<StepView>,
    /// What needs a person, where something does: the first such thing.
    pub stuck: Option<StuckView>,
    /// What happens next by itself, unless an event comes first.
    pub next: Option<NextView>,
    pub attributes: BTreeMap<String, Value>,
    /// Why something may have been missed: `beginning`, `gap`, `quarantine`, `inferred`, `evidence`, `completed`.
    pub unproven: Vec<String>,
    /// Duplicates seen; they are counted and not journaled.
    pub duplicates: u64,
    pub created_at: String,
    pub updated_at: String,
    pub ended_at: Option<String>,
    /// Sequence of the last journal entry.
    pub sequence: u64,
    /// The watermark this is true for; null while none is known.
    pub as_of: Option<String>,
    /// One sentence a person can act on.
    pub why: String,
}

/// How far an order is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ProgressView {
    pub done: usize,
    /// Steps expected so far: without conditional ones not triggered, and skipped ones.
    pub total: usize,
}

/// Something awaited.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WaitView {
    pub step: String,
    /// Any of these ends the wait; empty while the broker's word on a compensation is awaited.
    pub events: Vec<String>,
    pub since: Option<String>,
    pub deadline: Option<String>,
    /// It did not come: the watermark has passed the deadline.
    pub overdue: bool,
    /// The deadline has passed and the watermark has not: it may have come and not been read yet.
    pub due: bool,
    /// It is the undoing of the step that is awaited.
    pub compensation: bool,
    /// The queue of the service that is to answer, where the definition names one and it was looked at since the wait began.
    pub queue: Option<QueueView>,
}

/// A service's queue, as a passive look found it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct QueueView {
    pub queue: String,
    /// `missing`, `forbidden` (it cannot be seen), `no_consumer`, `backlog` or `consumed` (and no answer came).
    pub found: String,
    /// Ready to be delivered; null where the queue cannot be seen.
    pub messages: Option<u64>,
    pub consumers: Option<u64>,
    pub at: String,
}

/// One step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StepView {
    pub step: String,
    /// `pending`, `waiting`, `done`, `failed`, `timed_out`, `skipped`, `compensating`, `compensated` or `compensation_failed`.
    pub status: String,
    /// The event that closed it.
    pub event: Option<String>,
    /// The failure seen.
    pub failure: Option<String>,
    pub opened_at: Option<String>,
    pub deadline: Option<String>,
    pub closed_at: Option<String>,
    /// Retries sent or withheld.
    pub attempts: u32,
    pub late: bool,
    /// Closed before it opened.
    pub early: bool,
    /// Closed by an event placed by arrival.
    pub inferred: bool,
    /// Why it was skipped: `condition`, `timeout` or `person`.
    pub skipped: Option<String>,
    /// For counted steps: how many different events are needed, once known.
    pub expected: Option<u64>,
    /// For counted steps: how many were seen.
    pub counted: usize,
    /// The undoing of the step, once it began.
    pub compensation: Option<UndoView>,
}

/// The undoing of a step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct UndoView {
    /// The round last begun, from 1.
    pub round: u32,
    /// Sendings of the open round.
    pub attempts: u32,
    /// When the broker confirmed the last sending.
    pub confirmed_at: Option<String>,
}

/// What holds a stuck order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StuckView {
    pub reason: String,
    pub step: Option<String>,
    pub since: String,
    /// What failed, in words.
    pub detail: Option<String>,
    /// The incident it belongs to.
    pub incident: String,
    /// Further things that need a person.
    pub more: usize,
}

/// What happens next.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NextView {
    pub at: String,
    pub step: Option<String>,
    /// `retry`, `time_out`, `retry_compensation`, `compensation_overdue`, `turn_back` or `order_overdue`.
    pub action: String,
}

/// Shows an order.
pub fn order(facts: &Facts<'_>) -> OrderView {
    let order = facts.order;
    let waits = facts.waits();
    let unproven = facts.unproven();
    let why = why::sentence(facts, &waits, &unproven);
    let (done, total) = facts.progress();
    OrderView {
        saga: order.key.saga.clone(),
        order_id: order.key.order_id.clone(),
        version: order.version,
        status: order.life.status.word().to_owned(),
        progress: ProgressView { done, total },
        waiting_on: waits.iter().map(|wait| wait_view(facts, wait)).collect(),
        steps: order.steps.iter().enumerate().map(|(ix, state)| step_view(facts, ix, state)).collect(),
        stuck: order.first_need().map(|need| stuck_view(facts, need)),
        next: facts.next().map(|next| next_view(facts, next)),
        attributes: order.attributes.iter().map(|(name, it)| (name.clone(), it.value.clone())).collect(),
        unproven: unproven.into_iter().map(|it| unproven_word(it).to_owned()).collect(),
        duplicates: order.duplicates,
        created_at: order.created_at.rfc3339(),
        updated_at: order.updated_at.rfc3339(),
        ended_at: time(order.life.ended_at),
        sequence: order.sequence,
        as_of: time(facts.watermark),
        why,
    }
}

fn wait_view(facts: &Facts<'_>, wait: &Wait) -> WaitView {
    WaitView {
        step: facts.step(wait.step).name.clone(),
        events: wait.events.clone(),
        since: time(wait.since),
        deadline: time(wait.deadline),
        overdue: wait.overdue,
        due: wait.due,
        compensation: wait.is_undoing,
        queue: wait.queue.as_ref().map(queue_view),
    }
}

fn queue_view(finding: &QueueFinding) -> QueueView {
    QueueView {
        queue: finding.queue.clone(),
        found: finding.what.word().to_owned(),
        messages: finding.what.messages(),
        consumers: finding.what.consumers(),
        at: finding.at.rfc3339(),
    }
}

fn step_view(facts: &Facts<'_>, ix: StepIx, state: &StepState) -> StepView {
    let undo = &state.undo;
    StepView {
        step: facts.step(ix).name.clone(),
        status: state.status.word().to_owned(),
        event: state.event.as_ref().map(|it| it.name.clone()),
        failure: state.failure.as_ref().map(|it| it.name.clone()),
        opened_at: time(state.opened_at),
        deadline: time(state.deadline),
        closed_at: time(state.closed_at),
        attempts: state.attempts,
        late: state.late,
        early: state.early,
        inferred: state.inferred,
        skipped: state.skipped.map(|it| skipped_word(it).to_owned()),
        expected: state.expected,
        counted: state.parts.len(),
        compensation: (undo.round > 0).then(|| UndoView {
            round: undo.round,
            attempts: undo.attempts,
            confirmed_at: time(undo.confirmed_at),
        }),
    }
}

fn stuck_view(facts: &Facts<'_>, need: &Need) -> StuckView {
    let step = need.step.and_then(|ix| facts.saga.steps.get(ix)).map(|step| step.name.clone());
    StuckView {
        reason: need.reason.word().to_owned(),
        since: need.since.rfc3339(),
        detail: need.detail.clone(),
        incident: incident_id(&facts.order.key.saga, step.as_deref(), need.reason),
        more: facts.order.life.needs.len().saturating_sub(1),
        step,
    }
}

fn next_view(facts: &Facts<'_>, next: Next) -> NextView {
    NextView {
        at: next.at.rfc3339(),
        step: next.step.map(|ix| facts.step(ix).name.clone()),
        action: next.what.word().to_owned(),
    }
}

/// The id of the incident that gathers orders stuck for `reason` on `step` of `saga`; always the same. What the brake holds is one
/// incident, whatever the step.
pub fn incident_id(saga: &str, step: Option<&str>, reason: StuckReason) -> String {
    let step = step.filter(|_| reason != StuckReason::Held);
    About::new(Cause::Stuck(reason), saga, step).id()
}

/// The word used everywhere.
pub fn unproven_word(reason: Unproven) -> &'static str {
    match reason {
        Unproven::Beginning => "beginning",
        Unproven::Gap => "gap",
        Unproven::Quarantine => "quarantine",
        Unproven::Inferred => "inferred",
        Unproven::Evidence => "evidence",
        Unproven::Completed => "completed",
    }
}

fn skipped_word(skipped: crate::saga::order::Skipped) -> &'static str {
    use crate::saga::order::Skipped;
    match skipped {
        Skipped::Condition => "condition",
        Skipped::Timeout => "timeout",
        Skipped::Person => "person",
    }
}

/// A moment as the API writes it.
pub fn time(moment: Option<Moment>) -> Option<String> {
    moment.map(Moment::rfc3339)
}
