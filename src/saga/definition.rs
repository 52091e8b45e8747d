//! A saga as data: what an order goes through, by when, and how each step is undone.
//!
//! Valid by construction: [`super::parse`] is the only maker, and it refuses what the machine could not run. The
//! machine interprets these values; it has no method per event. Steps are named by their place in the file
//! ([`StepIx`]), and everything that could be looked up per event is an index made once at loading.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::expression::{Expression, Template};
use super::time::Span;

/// Most steps of a saga: each order carries the state of all of them.
pub const STEPS_MAX: usize = 500;

/// A step's place in its definition file, from 0.
pub type StepIx = usize;

/// One version of one saga.
#[derive(Clone, Debug)]
pub struct Saga {
    pub name: String,
    pub version: u32,
    /// The mode new sagas start in; from then on the stored mode counts (rule 9).
    pub mode: Mode,
    pub watch: Vec<Watch>,
    /// Searchable fields: name and where a message has it.
    pub attributes: Vec<(String, Vec<Selector>)>,
    pub steps: Vec<Step>,
    pub cancelled_by: Vec<Pattern>,
    /// For the whole order; past it the order is stuck.
    pub within: Span,
    /// `None` is `brake: none`.
    pub brake: Option<BrakeLimit>,
    pub notify: BTreeSet<Telling>,
    /// The file as it was read.
    pub text: String,
    /// Hash of the meaning: two texts with the same one follow orders in the same way (mode, brake, notify, attributes and
    /// `handled_by` are left out).
    pub fingerprint: [u8; 32],
    /// What each event name means to this saga, in definition order.
    pub roles: BTreeMap<String, Vec<PatternRole>>,
}

/// Whether a saga may ask anything of the services (rule 9).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    Act,
    Observe,
}

/// One place where the services publish, with the way to read what is found there.
#[derive(Clone, Debug)]
pub struct Watch {
    pub place: Place,
    pub read: Read,
}

/// Where messages come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    Exchange {
        name: String,
        declare: Option<Declare>,
        /// Binding keys as given; `None` means what the definition needs, which depends on the exchange's type.
        keys: Option<Vec<String>>,
    },
    /// `POST /v1/events`.
    Http,
}

/// How the services declare an exchange, word for word.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Declare {
    pub kind: String,
    pub durable: bool,
    pub auto_delete: bool,
    pub internal: bool,
}

/// How one message is read. Lists are tried in order; the first that is present counts.
#[derive(Clone, Debug)]
pub struct Read {
    pub event: Vec<Selector>,
    pub order_id: OrderIdFrom,
    /// Empty: the message id, then the preset's or CloudEvents id.
    pub id: Vec<Selector>,
    pub preset: Option<Preset>,
}

/// Where the order id comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OrderIdFrom {
    Message(Vec<Selector>),
    /// Inferred from the order of arrival (rule 5).
    Arrival,
}

/// An envelope known by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Preset {
    CloudEvents,
    MassTransit,
    NServiceBus,
}

/// One place in a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selector {
    /// An RFC 6901 pointer into the payload.
    Pointer(String),
    /// An RFC 6901 pointer into what surrounds the payload.
    Envelope(String),
    RoutingKey,
    /// The n-th word of the routing key, from 1.
    RoutingKeyWord(usize),
    Exchange,
    Header(String),
    Property(String),
}

/// An event name, perhaps with a condition on its content.
#[derive(Clone, Debug)]
pub struct Pattern {
    pub event: String,
    pub condition: Option<Expression>,
}

/// What one event means to one place of the definition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    Done(StepIx),
    Failed(StepIx),
    /// The trigger of a conditional step.
    When(StepIx),
    CompensationDone(StepIx),
    CompensationFailed(StepIx),
    Cancel,
}

/// A role under the condition its pattern states.
#[derive(Clone, Debug)]
pub struct PatternRole {
    pub role: Role,
    pub condition: Option<Expression>,
}

/// One expectation.
#[derive(Clone, Debug)]
pub struct Step {
    pub name: String,
    pub after: Vec<StepIx>,
    /// Non-empty: only expected once one of these was seen.
    pub when: Vec<Pattern>,
    /// `if:`; looked at when the step would open.
    pub condition: Option<Expression>,
    pub done: Vec<Pattern>,
    pub failed: Vec<Pattern>,
    pub on_failure: OnFailure,
    pub within: Option<Within>,
    pub retry: Option<Retry>,
    pub on_timeout: OnTimeout,
    pub late: Late,
    pub compensation: Option<Compensation>,
    /// This many different `done` events are needed.
    pub count: Option<Expression>,
    /// What tells the counted events apart.
    pub by: Vec<Selector>,
    /// `handled_by:`; the queue its service consumes, as given ([`Step::queue`]). Only looked at, never published to.
    pub handled_by: Option<String>,
}

impl Step {
    /// The queue its service consumes: the one given, else the one its retries go to.
    pub fn queue(&self) -> Option<&str> {
        let retried = self.retry.as_ref().and_then(|retry| match &retry.to {
            RetryTo::Queue(queue) => Some(queue.as_str()),
            RetryTo::Exchange { .. } | RetryTo::Original => None,
        });
        self.handled_by.as_deref().or(retried)
    }

    /// The queue the service consumes that undoes it, where one is given.
    pub fn undo_queue(&self) -> Option<&str> {
        self.compensation.as_ref()?.handled_by.as_deref()
    }

    /// Both, where they are known.
    pub fn queues(&self) -> impl Iterator<Item = &str> {
        self.queue().into_iter().chain(self.undo_queue())
    }
}

/// How long a step may take.
#[derive(Clone, Debug)]
pub enum Within {
    Fixed(Span),
    /// Gives a duration or a moment when the step opens.
    Computed(Expression),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnFailure {
    Compensate,
    Alert,
    /// A second attempt may still succeed.
    Wait,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnTimeout {
    Alert,
    Compensate,
    Skip,
}

/// What a `done` means after the order turned back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Late {
    Compensate,
    Ignore,
}

/// Re-sending the message that opened a step.
#[derive(Clone, Debug)]
pub struct Retry {
    pub cadence: Cadence,
    pub to: RetryTo,
    /// Whose `done` message is re-sent, where the step comes after several.
    pub message: Option<StepIx>,
}

/// How often and in what rhythm something is sent again.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cadence {
    pub times: u32,
    pub every: Span,
    /// Each wait is the one before times this; 1 keeps them equal.
    pub backoff: f64,
}

impl Cadence {
    /// How long to wait after the `attempt`-th sending (from 1).
    pub fn wait_after(&self, attempt: u32) -> Span {
        self.every.scaled(self.backoff.powi(i32::try_from(attempt.saturating_sub(1)).unwrap_or(i32::MAX)))
    }
}

/// Who gets a re-sent message.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RetryTo {
    /// Only the consumers of this queue, through the administrator's binding `escrow.retry` → queue.
    Queue(String),
    /// Every subscriber of the exchange.
    Exchange { exchange: String, routing_key: Option<String> },
    /// Where it was first published.
    Original,
}

/// The undoing of a step.
#[derive(Clone, Debug)]
pub struct Compensation {
    /// `None`: the services compensate by themselves and Escrow only watches.
    pub publish: Option<Publish>,
    /// Empty: compensated as soon as the broker confirmed that it was routed.
    pub done: Vec<Pattern>,
    pub failed: Vec<Pattern>,
    /// From the confirm; an hour where nothing is said and there is a `done`.
    pub within: Option<Span>,
    pub retry: Option<Cadence>,
    /// `handled_by:`; the queue of the service that undoes it. Only looked at.
    pub handled_by: Option<String>,
}

/// How long a compensation may take when the definition does not say.
const COMPENSATION_WITHIN_DEFAULT: Span = Span::from_secs(3600);

impl Compensation {
    /// How long it may take, from the broker's confirm.
    pub fn patience(&self) -> Span {
        self.within.unwrap_or(COMPENSATION_WITHIN_DEFAULT)
    }
}

/// A message asked for by a definition.
#[derive(Clone, Debug)]
pub struct Publish {
    pub event: String,
    /// `None`: Escrow's own exchange.
    pub exchange: Option<String>,
    /// `None`: `{saga}.{step}.compensate` on Escrow's own exchange, empty elsewhere.
    pub routing_key: Option<Template>,
    pub headers: Vec<(String, Template)>,
    pub properties: Vec<(String, Template)>,
    /// `None`: a CloudEvent with the order's progress.
    pub body: Option<Template>,
}

/// Past this many orders turned back by timeout in the window, the next ones are held (rule 14).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BrakeLimit {
    pub orders: u32,
    pub per: Span,
}

/// What Escrow tells about an order on its own exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Telling {
    Retried,
    TimedOut,
    Recovered,
    Stuck,
    Completed,
    Failed,
    Cancelled,
    Compensating,
    Compensated,
}

impl Telling {
    /// Every telling, in the order of the documentation.
    pub const ALL: [Self; 9] = [
        Self::Retried,
        Self::TimedOut,
        Self::Recovered,
        Self::Stuck,
        Self::Completed,
        Self::Failed,
        Self::Cancelled,
        Self::Compensating,
        Self::Compensated,
    ];

    /// The last word of its routing key and of its type.
    pub fn word(self) -> &'static str {
        match self {
            Self::Retried => "retried",
            Self::TimedOut => "timed_out",
            Self::Recovered => "recovered",
            Self::Stuck => "stuck",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Compensating => "compensating",
            Self::Compensated => "compensated",
        }
    }
}

impl Saga {
    /// The place of the step called `name`.
    pub fn step_ix(&self, name: &str) -> Option<StepIx> {
        self.steps.iter().position(|step| step.name == name)
    }

    /// The steps' names, in the file's order.
    pub fn step_names(&self) -> Arc<[String]> {
        self.steps.iter().map(|step| step.name.clone()).collect()
    }

    /// Whether the step opens an order: neither `after` nor `when`.
    pub fn is_root(&self, step: StepIx) -> bool {
        self.steps[step].after.is_empty() && self.steps[step].when.is_empty()
    }

    /// Every step that comes after `step`, directly or through others.
    pub fn descendants(&self, step: StepIx) -> BTreeSet<StepIx> {
        let mut found = BTreeSet::new();
        let mut fresh = vec![step];
        while let Some(at) = fresh.pop() {
            fresh.extend(
                (0..self.steps.len()).filter(|&later| self.steps[later].after.contains(&at) && found.insert(later)),
            );
        }
        found
    }

    /// Every step that `step` comes after, directly or through others.
    pub fn ancestors(&self, step: StepIx) -> BTreeSet<StepIx> {
        let mut found = BTreeSet::new();
        let mut fresh = self.steps[step].after.clone();
        while let Some(at) = fresh.pop() {
            if found.insert(at) {
                fresh.extend(&self.steps[at].after);
            }
        }
        found
    }

    /// The names of the events that close `step` well.
    pub fn awaited(&self, step: StepIx) -> Vec<String> {
        names(&self.steps[step].done)
    }

    /// The names of the events that close the compensation of `step` well.
    pub fn awaited_compensation(&self, step: StepIx) -> Vec<String> {
        self.steps[step].compensation.as_ref().map(|undo| names(&undo.done)).unwrap_or_default()
    }

    /// Whether any expression of this saga reads the stored events of finished steps, so that a decision may need their bodies.
    pub fn reads_stored_events(&self) -> bool {
        self.expressions().any(Expression::reads_steps) || self.templates().any(Template::reads_steps)
    }

    fn expressions(&self) -> impl Iterator<Item = &Expression> {
        self.steps.iter().flat_map(|step| {
            let computed = match &step.within {
                Some(Within::Computed(expression)) => Some(expression),
                Some(Within::Fixed(_)) | None => None,
            };
            step.condition.iter().chain(step.count.iter()).chain(computed)
        })
    }

    fn templates(&self) -> impl Iterator<Item = &Template> {
        self.steps.iter().filter_map(|step| step.compensation.as_ref()?.publish.as_ref()).flat_map(|publish| {
            let named = publish.headers.iter().chain(&publish.properties).map(|(_, template)| template);
            publish.routing_key.iter().chain(&publish.body).chain(named)
        })
    }
}

fn names(patterns: &[Pattern]) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for pattern in patterns {
        if !names.contains(&pattern.event) {
            names.push(pattern.event.clone());
        }
    }
    names
}
