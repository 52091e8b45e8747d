//! Which order a message belongs to: the one it names, or, where a choreography publishes no id at all, the oldest that waits
//! for it (rule 5).

use std::sync::Arc;

use super::deciding::Deciding;
use super::{Arrival, Candidate, OrderRef};
use crate::saga::definition::{Role, Saga};
use crate::saga::input::Event;
use crate::saga::order::{Order, OrderKey, StepStatus};

/// Where a message belongs.
pub(super) enum Placed {
    In(OrderKey, Arc<Saga>, Event),
    Ignored,
    Duplicate,
    Nowhere(Event),
    /// The order is on a version the catalog does not have. With the name of the event.
    Unknown(OrderKey, u32, String),
}

impl Deciding<'_> {
    /// The newest version reads; another takes the message if it names one of its own open orders.
    pub(super) fn place(&mut self, arrival: &Arrival, newest: &Arc<Saga>) -> Placed {
        let others = || arrival.candidates.iter().filter(|candidate| candidate.version != newest.version);
        for candidate in others() {
            let Some(key) = key_of(arrival, candidate) else { continue };
            let is_own = |order: &Order| order.version == candidate.version && !order.life.status.is_ended();
            if self.order(&key).is_some_and(is_own) {
                return self.take(key, candidate);
            }
        }
        let first = arrival.candidates.iter().find(|candidate| candidate.version == newest.version);
        let Some(first) = first else {
            // Whose order it would be, had that version been known.
            let unknown = others().find_map(|it| self.unknown(key_of(arrival, it)?, &it.event));
            return unknown.or_else(|| self.place_in_line(arrival)).unwrap_or(Placed::Ignored);
        };
        match key_of(arrival, first) {
            Some(key) => self.place_by_id(arrival, first, key),
            None => self.place_by_arrival(arrival, first, newest),
        }
    }

    /// The message names its order, which may be pinned to another version than the newest.
    fn place_by_id(&self, arrival: &Arrival, first: &Candidate, key: OrderKey) -> Placed {
        let version = self.order(&key).map_or(first.version, |order| order.version);
        let as_read_by = arrival
            .candidates
            .iter()
            .find(|candidate| candidate.version == version && key_of(arrival, candidate).as_ref() == Some(&key));
        match as_read_by {
            Some(candidate) => self.take(key, candidate),
            None => self.unknown(key, &first.event).unwrap_or(Placed::Ignored),
        }
    }

    fn take(&self, key: OrderKey, candidate: &Candidate) -> Placed {
        match self.plan.catalog.version(&key.saga, candidate.version) {
            Some(saga) => Placed::In(key, Arc::clone(saga), candidate.event.clone()),
            None => Placed::Unknown(key, candidate.version, candidate.event.name.clone()),
        }
    }

    /// The order, if it is on a version that is not known here.
    fn unknown(&self, key: OrderKey, event: &Event) -> Option<Placed> {
        let version = self.order(&key)?.version;
        let is_known = self.plan.catalog.version(&key.saga, version).is_some();
        (!is_known).then(|| Placed::Unknown(key, version, event.name.clone()))
    }

    /// Rule 5: the opening event opens a new order; any other belongs to the oldest order waiting for it.
    fn place_by_arrival(&mut self, arrival: &Arrival, first: &Candidate, newest: &Arc<Saga>) -> Placed {
        let line = self.lines.get(&arrival.saga).map(Vec::as_slice).unwrap_or_default();
        // Open orders only: those that ended are not loaded with the next batch either, and how a batch is split changes nothing.
        let mut open = line.iter().filter_map(|key| self.order(key)).filter(|order| !order.life.status.is_ended());
        if first.event.identity.is_some_and(|identity| open.any(|order| order.seen.contains(&identity))) {
            return Placed::Duplicate;
        }
        let opens = first.event.roles.iter().any(|role| matches!(role, Role::Done(step) if newest.is_root(*step)));
        if opens {
            let stored = self.loaded.counters.get(&arrival.saga).copied().unwrap_or(0);
            let counter = self.counters.entry(arrival.saga.clone()).or_insert(stored);
            *counter += 1;
            let key = OrderKey { saga: arrival.saga.clone(), order_id: format!("arrival-{counter}") };
            self.lines.entry(arrival.saga.clone()).or_default().push(key.clone());
            return Placed::In(key, Arc::clone(newest), first.event.clone());
        }
        self.place_in_line(arrival).unwrap_or_else(|| Placed::Nowhere(first.event.clone()))
    }

    /// The oldest order waiting for what its version reads by arrival.
    fn place_in_line(&self, arrival: &Arrival) -> Option<Placed> {
        let line = self.lines.get(&arrival.saga)?;
        line.iter().find_map(|key| {
            let order = self.order(key)?;
            let mut read = arrival.candidates.iter();
            let read = read.find(|it| it.version == order.version && it.place == OrderRef::Arrival)?;
            let saga = self.plan.catalog.version(&arrival.saga, order.version)?;
            let event = || Event { inferred: true, ..read.event.clone() };
            awaits(order, &read.event).then(|| Placed::In(key.clone(), Arc::clone(saga), event()))
        })
    }
}

/// The order a message names, as one version reads it.
fn key_of(arrival: &Arrival, candidate: &Candidate) -> Option<OrderKey> {
    match &candidate.place {
        OrderRef::Id(order_id) => Some(OrderKey { saga: arrival.saga.clone(), order_id: order_id.clone() }),
        OrderRef::Arrival => None,
    }
}

/// Whether the order waits for this event now.
fn awaits(order: &Order, event: &Event) -> bool {
    let is = |step: usize, statuses: &[StepStatus]| statuses.contains(&order.steps[step].status);
    event.roles.iter().any(|role| match role {
        Role::Done(step) | Role::Failed(step) => is(*step, &[StepStatus::Waiting]),
        Role::CompensationDone(step) | Role::CompensationFailed(step) => is(*step, &[StepStatus::Compensating]),
        Role::When(step) => order.steps[*step].trigger.is_none() && is(*step, &[StepStatus::Pending]),
        Role::Cancel => order.life.cancelled.is_none() && !order.life.status.is_ended(),
    })
}
