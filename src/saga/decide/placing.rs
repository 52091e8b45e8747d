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
}

impl Deciding<'_> {
    /// The newest version reads; an older one takes the message if it names one of its own open orders.
    pub(super) fn place_by_id(&self, arrival: &Arrival, newest: &Arc<Saga>) -> Placed {
        let key_of = |candidate: &Candidate| match &candidate.place {
            OrderRef::Id(order_id) => Some(OrderKey { saga: arrival.saga.clone(), order_id: order_id.clone() }),
            OrderRef::Arrival => None,
        };
        let take =
            |candidate: &Candidate, key: OrderKey| match self.plan.catalog.version(&arrival.saga, candidate.version) {
                Some(saga) => Placed::In(key, Arc::clone(saga), candidate.event.clone()),
                None => Placed::Ignored,
            };
        for candidate in arrival.candidates.iter().filter(|candidate| candidate.version != newest.version) {
            let Some(key) = key_of(candidate) else { continue };
            let own = self
                .order(&key)
                .is_some_and(|order| order.version == candidate.version && !order.life.status.is_ended());
            if own {
                return take(candidate, key);
            }
        }
        let Some(first) = arrival.candidates.iter().find(|candidate| candidate.version == newest.version) else {
            return Placed::Ignored;
        };
        let Some(key) = key_of(first) else { return Placed::Ignored };
        match self.order(&key).map(|order| order.version) {
            Some(version) if version != newest.version => arrival
                .candidates
                .iter()
                .find(|candidate| candidate.version == version && key_of(candidate).as_ref() == Some(&key))
                .map_or(Placed::Ignored, |candidate| take(candidate, key)),
            Some(_) | None => take(first, key),
        }
    }

    /// Rule 5: the opening event opens a new order; any other belongs to the oldest order waiting for it.
    pub(super) fn place_by_arrival(&mut self, arrival: &Arrival, newest: &Arc<Saga>) -> Placed {
        let Some(first) = arrival.candidates.iter().find(|candidate| candidate.version == newest.version) else {
            return Placed::Ignored;
        };
        let line = self.lines.get(&arrival.saga).cloned().unwrap_or_default();
        let seen = |identity| line.iter().filter_map(|key| self.order(key)).any(|order| order.seen.contains(&identity));
        if first.event.identity.is_some_and(seen) {
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
        for key in line {
            let Some(order) = self.order(&key) else { continue };
            let read = arrival.candidates.iter().find(|candidate| candidate.version == order.version);
            let Some(read) = read.filter(|candidate| awaits(order, &candidate.event)) else { continue };
            if let Some(saga) = self.plan.catalog.version(&arrival.saga, order.version) {
                let event = Event { inferred: true, ..read.event.clone() };
                return Placed::In(key, Arc::clone(saga), event);
            }
        }
        Placed::Nowhere(first.event.clone())
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
