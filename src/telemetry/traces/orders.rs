//! A finished order as one trace: the order is the root, its steps and their undoing are the spans in it.
//!
//! ```text
//!   order ├──────────────────────────────────────────────┤   created … ended
//!   payment    ├───────────┤                                 opened … closed, with its retries as events on the line
//!   inventory  ├─────────────────────×                       timed out
//!   undo payment                     ├──────────┤            asked … done
//! ```
//!
//! The trace's id is a hash of saga and order id, so that it can be found by who knows the order, and one that runs again after
//! its end becomes more spans of the same trace. What the services' own traces are is linked, where messages said it.

use std::collections::BTreeMap;

use opentelemetry::KeyValue;
use opentelemetry::trace::{Event, SpanContext, SpanId, SpanKind, Status as SpanStatus, TraceId};
use opentelemetry_sdk::trace::SpanData;
use sha2::Digest as _;

use super::{context, instant, span};
use crate::saga::journal::{Entry, EntryBody, Kind};
use crate::saga::order::{Order, OrderKey, Status, StepState, StepStatus};
use crate::saga::time::Moment;

/// What one trace is made of.
#[derive(Debug)]
pub struct Finished<'a> {
    pub order: &'a Order,
    /// The names of its steps, in the definition's order.
    pub names: &'a [String],
    /// Its trail, oldest first.
    pub entries: &'a [Entry],
    /// The traces its messages said they belong to, by journal entry.
    pub contexts: &'a BTreeMap<u64, SpanContext>,
    /// The entry that ended it.
    pub sequence: u64,
}

/// The trace of an order.
pub fn trace_id(key: &OrderKey) -> TraceId {
    TraceId::from_bytes(hash(&[b"escrow: trace", key.saga.as_bytes(), key.order_id.as_bytes()]))
}

/// The spans of an order that ended; none if it has not.
pub fn spans(finished: &Finished<'_>) -> Vec<SpanData> {
    let Some(ended_at) = finished.order.life.ended_at else { return Vec::new() };
    let building = Building { of: finished, trace: trace_id(&finished.order.key), ended_at };
    let root = building.root();
    let parent = root.span_context.span_id();
    let steps = finished.order.steps.iter().enumerate();
    let steps = steps.filter_map(|(ix, step)| building.step(parent, ix, step));
    let mut spans: Vec<SpanData> = steps.chain(building.undoings(parent)).collect();
    spans.insert(0, root);
    spans
}

struct Building<'a> {
    of: &'a Finished<'a>,
    trace: TraceId,
    ended_at: Moment,
}

impl Building<'_> {
    fn id(&self, what: &str, number: usize) -> SpanId {
        let number = (number as u64).to_be_bytes();
        let whole = hash(&[&self.trace.to_bytes(), &self.of.sequence.to_be_bytes(), what.as_bytes(), &number]);
        let [half @ .., _, _, _, _, _, _, _, _] = whole;
        SpanId::from_bytes(half)
    }

    fn name(&self, step: usize) -> &str {
        self.of.names.get(step).map_or("step", String::as_str)
    }

    fn root(&self) -> SpanData {
        let order = self.of.order;
        let key = &order.key;
        let mut root = span(self.trace, self.id("order", 0), SpanId::INVALID, key.saga.clone(), SpanKind::Internal);
        (root.start_time, root.end_time) = (instant(order.created_at), instant(self.ended_at));
        root.attributes = vec![
            text("escrow.saga", &key.saga),
            text("escrow.order_id", &key.order_id),
            KeyValue::new("escrow.version", i64::from(order.version)),
            text("escrow.status", order.life.status.word()),
        ];
        root.attributes.extend(order.life.closed_because.as_deref().map(|why| text("escrow.reason", why)));
        root.attributes.extend(order.life.turn.as_ref().map(|turn| text("escrow.reason", &turn.reason)));
        root.status = match order.life.status {
            Status::Completed => SpanStatus::Ok,
            Status::Compensated | Status::Failed | Status::Closed => SpanStatus::error(order.life.status.word()),
            Status::Cancelled | Status::Running | Status::Compensating | Status::Stuck => SpanStatus::Unset,
        };
        root.links = context::links(self.of.contexts.values().cloned());
        root
    }

    fn step(&self, parent: SpanId, ix: usize, step: &StepState) -> Option<SpanData> {
        let opened_at = step.opened_at?;
        let closed_at = step.closed_at.unwrap_or(self.ended_at);
        let name = self.name(ix).to_owned();
        let mut made = span(self.trace, self.id("step", ix), parent, name, SpanKind::Internal);
        (made.start_time, made.end_time) = (instant(opened_at), instant(closed_at.max(opened_at)));
        made.attributes = vec![text("escrow.step", self.name(ix)), text("escrow.step.status", step.status.word())];
        let seen = step.event.as_ref().or(step.failure.as_ref());
        made.attributes.extend(seen.map(|seen| text("escrow.event", &seen.name)));
        for (flag, name) in [(step.early, "early"), (step.late, "late"), (step.inferred, "inferred")] {
            made.attributes.extend(flag.then(|| KeyValue::new(format!("escrow.{name}"), true)));
        }
        if step.attempts > 0 {
            made.attributes.push(KeyValue::new("escrow.attempts", i64::from(step.attempts)));
        }
        made.events.events = self.events(ix, false);
        made.status = match step.status {
            StepStatus::Done | StepStatus::Skipped => SpanStatus::Ok,
            StepStatus::Failed | StepStatus::TimedOut => SpanStatus::error(step.status.word()),
            StepStatus::Compensating | StepStatus::Compensated | StepStatus::CompensationFailed => match &step.event {
                Some(_) => SpanStatus::Ok,
                None => SpanStatus::error(if step.failure.is_some() { "failed" } else { "timed_out" }),
            },
            StepStatus::Pending | StepStatus::Waiting => SpanStatus::Unset,
        };
        let sightings = [&step.event, &step.failure, &step.trigger].into_iter().flatten().map(|seen| seen.sequence);
        let sequences = sightings.chain(step.parts.values().copied()).chain(step.opened_by);
        made.links = context::links(sequences.filter_map(|sequence| self.of.contexts.get(&sequence).cloned()));
        Some(made)
    }

    /// What happened to a step that is not its opening or closing: attempts, and what held them back. Those of its undoing are
    /// apart from the others.
    fn events(&self, step: usize, is_undoing: bool) -> Vec<Event> {
        let told = |entry: &&Entry| match entry.kind {
            Kind::Retry | Kind::Withheld | Kind::WouldSend | Kind::Late | Kind::Repeated => !is_undoing,
            Kind::Compensation => is_undoing,
            Kind::Event | Kind::Deadline | Kind::Confirmation | Kind::Command | Kind::Conflict => false,
        };
        let about = self.of.entries.iter().filter(|entry| is_about(&entry.body, step));
        about.filter(told).map(event).collect()
    }

    /// A span for each time a step was undone, from the asking to the answer.
    fn undoings(&self, parent: SpanId) -> Vec<SpanData> {
        let mut open: BTreeMap<usize, Moment> = BTreeMap::new();
        let mut made = Vec::new();
        for entry in self.of.entries {
            for change in &entry.body.steps {
                match change.now.status {
                    StepStatus::Compensating => {
                        open.entry(change.step).or_insert(entry.at);
                    }
                    StepStatus::Compensated | StepStatus::CompensationFailed if change.from != change.now.status => {
                        let asked_at = open.remove(&change.step).unwrap_or(entry.at);
                        made.push(self.undoing(parent, change.step, made.len(), (asked_at, entry.at), &change.now));
                    }
                    StepStatus::Compensated
                    | StepStatus::CompensationFailed
                    | StepStatus::Pending
                    | StepStatus::Waiting
                    | StepStatus::Done
                    | StepStatus::Failed
                    | StepStatus::TimedOut
                    | StepStatus::Skipped => {}
                }
            }
        }
        made
    }

    fn undoing(
        &self,
        parent: SpanId,
        step: usize,
        n: usize,
        (from, to): (Moment, Moment),
        now: &StepState,
    ) -> SpanData {
        let name = format!("undo {}", self.name(step));
        let mut made = span(self.trace, self.id("undo", n), parent, name, SpanKind::Internal);
        (made.start_time, made.end_time) = (instant(from), instant(to));
        made.attributes = vec![
            text("escrow.step", self.name(step)),
            text("escrow.step.status", now.status.word()),
            KeyValue::new("escrow.attempts", i64::from(now.undo.attempts)),
        ];
        let within = self.events(step, true).into_iter();
        made.events.events = within.filter(|event| (instant(from)..=instant(to)).contains(&event.timestamp)).collect();
        made.status =
            if now.status == StepStatus::Compensated { SpanStatus::Ok } else { SpanStatus::error(now.status.word()) };
        made
    }
}

fn event(entry: &Entry) -> Event {
    let sequence = i64::try_from(entry.sequence).unwrap_or(i64::MAX);
    let mut attributes = vec![KeyValue::new("escrow.sequence", sequence)];
    attributes.extend(entry.body.name.as_deref().map(|name| text("escrow.event", name)));
    attributes.extend(entry.body.reason.as_deref().map(|reason| text("escrow.reason", reason)));
    Event::new(entry.kind.word(), instant(entry.at), attributes, 0)
}

fn is_about(body: &EntryBody, step: usize) -> bool {
    body.step == Some(step) || body.step.is_none() && body.steps.iter().any(|change| change.step == step)
}

fn text(name: &'static str, value: &str) -> KeyValue {
    KeyValue::new(name, value.to_owned())
}

/// Sixteen bytes of the hash of all parts, each with its length.
fn hash(parts: &[&[u8]]) -> [u8; 16] {
    let mut hash = sha2::Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    let whole: [u8; 32] = hash.finalize().into();
    let [half @ .., _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _] = whole;
    half
}
