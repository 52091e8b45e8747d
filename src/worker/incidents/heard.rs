//! Which steps go unanswered: when something that closes a step was last seen, and which orders have come to it since.
//!
//! In memory, of what this process commits. The process that reads the tap commits all of it and judges; where events come over
//! HTTP alone, each replica knows its own share. What it costs to lose it is that a silence is found as late as a new one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use crate::saga::batch::SavedOrder;
use crate::saga::catalog::Catalog;
use crate::saga::definition::{Role, StepIx};
use crate::saga::incident::SAMPLES_MAX;
use crate::saga::journal::Kind;
use crate::saga::order::StepStatus;
use crate::saga::time::{Moment, Span};

/// Orders have to come to a step within this time for its silence to mean anything; and no silence is shorter.
pub const FLOWS_WITHIN: Span = Span::from_secs(120);

/// Fewer orders without an answer are each their own, and no silence.
const ORDERS_MIN: u64 = 3;

/// What was heard, by saga and step.
#[derive(Debug, Default)]
pub struct Heard {
    sagas: Mutex<BTreeMap<String, BTreeMap<String, Step>>>,
}

#[derive(Debug, Default)]
struct Step {
    heard_at: Option<Moment>,
    unanswered: Option<Unanswered>,
}

#[derive(Debug)]
struct Unanswered {
    since: Moment,
    last_at: Moment,
    count: u64,
    samples: Vec<String>,
}

/// A step to which orders come, and of which nothing is heard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quiet {
    pub saga: String,
    pub step: String,
    /// Since when orders have come to it without an answer to any.
    pub since: Moment,
    pub last_at: Moment,
    pub count: u64,
    pub samples: Vec<String>,
}

impl Heard {
    fn with<T>(&self, change: impl FnOnce(&mut BTreeMap<String, BTreeMap<String, Step>>) -> T) -> T {
        change(&mut self.sagas.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// These orders were saved at this moment.
    pub fn committed(&self, catalog: &Catalog, saved: &[SavedOrder], now: Moment) {
        if saved.is_empty() {
            return;
        }
        self.with(|sagas| {
            for order in saved {
                hear(sagas, catalog, order, now);
            }
        });
    }

    /// The steps that have been quiet for [`FLOWS_WITHIN`] or longer while orders came.
    pub fn quiet(&self, now: Moment) -> Vec<Quiet> {
        self.with(|sagas| {
            let steps = sagas.iter().flat_map(|(saga, steps)| steps.iter().map(move |(name, step)| (saga, name, step)));
            let quiet = steps.filter_map(|(saga, name, step)| {
                let orders = step.unanswered.as_ref()?;
                let flows = now.since(orders.last_at) <= FLOWS_WITHIN && now.since(orders.since) >= FLOWS_WITHIN;
                (flows && orders.count >= ORDERS_MIN).then(|| Quiet {
                    saga: saga.clone(),
                    step: name.clone(),
                    since: orders.since,
                    last_at: orders.last_at,
                    count: orders.count,
                    samples: orders.samples.clone(),
                })
            });
            quiet.collect()
        })
    }

    /// Whether the last that came of a step was an answer. `None`: nothing is known of it.
    pub fn is_answering(&self, saga: &str, step: &str) -> Option<bool> {
        self.with(|sagas| {
            let step = sagas.get(saga)?.get(step)?;
            step.heard_at.map(|_| step.unanswered.is_none()).or(step.unanswered.as_ref().map(|_| false))
        })
    }
}

fn hear(sagas: &mut BTreeMap<String, BTreeMap<String, Step>>, catalog: &Catalog, saved: &SavedOrder, now: Moment) {
    let key = &saved.order.key;
    let steps = sagas.entry(key.saga.clone()).or_default();
    let saga = catalog.version(&key.saga, saved.order.version);
    let mut heard = BTreeSet::new();
    for entry in &saved.entries {
        let is_event = match entry.entry.kind {
            Kind::Event | Kind::Late | Kind::Repeated | Kind::Conflict => true,
            Kind::Deadline
            | Kind::Retry
            | Kind::Withheld
            | Kind::Compensation
            | Kind::Confirmation
            | Kind::WouldSend
            | Kind::Command => false,
        };
        let roles = entry.entry.body.name.as_ref().filter(|_| is_event).and_then(|name| saga?.roles.get(name));
        heard.extend(roles.into_iter().flatten().filter_map(|role| answers(role.role)));
        for change in &entry.entry.body.steps {
            let opened = change.from == StepStatus::Pending && change.now.status == StepStatus::Waiting;
            if let Some(name) = saved.step_names.get(change.step).filter(|_| opened) {
                step_of(steps, name).opened(&key.order_id, now);
            }
        }
    }
    for name in heard.into_iter().filter_map(|ix| saved.step_names.get(ix)) {
        let step = step_of(steps, name);
        (step.heard_at, step.unanswered) = (Some(now), None);
    }
}

/// The step that an event in this role says something of.
fn answers(role: Role) -> Option<StepIx> {
    match role {
        Role::Done(step) | Role::Failed(step) => Some(step),
        Role::When(_) | Role::CompensationDone(_) | Role::CompensationFailed(_) | Role::Cancel => None,
    }
}

fn step_of<'a>(steps: &'a mut BTreeMap<String, Step>, name: &str) -> &'a mut Step {
    steps.entry(name.to_owned()).or_default()
}

impl Step {
    fn opened(&mut self, order_id: &str, now: Moment) {
        let orders = self.unanswered.get_or_insert_with(|| Unanswered {
            since: now,
            last_at: now,
            count: 0,
            samples: Vec::new(),
        });
        orders.last_at = now;
        orders.count += 1;
        if orders.samples.len() < SAMPLES_MAX {
            orders.samples.push(order_id.to_owned());
        }
    }
}
