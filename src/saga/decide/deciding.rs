//! One run over a batch: each input finds its order, the machine runs, and what follows is gathered.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::placing::Placed;
use super::{Arrival, Delivered, Plan, RawMessage, Unread, Work};
use crate::faults::{Bug, is_planted};
use crate::saga::batch::{
    Changes, Loaded, NewDoubt, Outcome, QuarantineReason, Quarantined, SavedOrder, SavedPayload, SavedState, Sealed,
    StoredPayload, TapProgress,
};
use crate::saga::brake::SagaState;
use crate::saga::definition::Saga;
use crate::saga::input::{Command, Event, Input, Misfit};
use crate::saga::machine::{self, ResultOf, StoredEvents};
use crate::saga::order::{Circumstances, Digest, Doubt, DoubtKind, Order, OrderKey};
use crate::saga::outgoing::Outgoing;
use crate::saga::time::Moment;

/// One run over a batch.
pub(super) struct Deciding<'a> {
    pub(super) plan: &'a Plan,
    pub(super) loaded: &'a Loaded,
    pub(super) working: BTreeMap<OrderKey, Working>,
    pub(super) lines: BTreeMap<String, Vec<OrderKey>>,
    pub(super) counters: BTreeMap<String, u64>,
    last_batch: VecDeque<Digest>,
    this_batch: Vec<Digest>,
    states: BTreeMap<String, SagaState>,
    /// What is written about sagas as a whole; also says which states changed.
    about_sagas: BTreeMap<String, Vec<Sealed>>,
    /// Those stored, and those this batch found so far.
    pub(super) doubts: Vec<Doubt>,
    pub(super) changes: Changes,
}

/// An order the batch touched.
pub(super) struct Working {
    pub(super) saga: Arc<Saga>,
    pub(super) order: Order,
    pub(super) stored: StoredEvents,
    pub(super) entries: Vec<Sealed>,
    pub(super) is_new: bool,
    pub(super) attributes_changed: bool,
}

impl<'a> Deciding<'a> {
    pub(super) fn new(plan: &'a Plan, loaded: &'a Loaded) -> Self {
        let before = plan.tap.as_ref().map(|tap| tap.before.clone()).unwrap_or_default();
        let mut last_batch: VecDeque<Digest> = loaded.last_batch.iter().copied().collect();
        // What an earlier part of this batch left behind is this batch's own.
        for hash in &before {
            take_from(&mut last_batch, *hash);
        }
        Self {
            plan,
            loaded,
            working: BTreeMap::new(),
            lines: loaded.lines.clone(),
            counters: BTreeMap::new(),
            last_batch,
            this_batch: before,
            states: loaded.states.clone(),
            about_sagas: BTreeMap::new(),
            doubts: loaded.doubts.clone(),
            changes: Changes { idempotency_key: plan.idempotency_key.clone(), ..Changes::default() },
        }
    }

    /// The batch was committed before; what it left behind stays.
    pub(super) fn is_applied_already(&mut self) {
        self.this_batch.clone_from(&self.loaded.last_batch);
        self.last_batch.clear();
    }
}

impl Deciding<'_> {
    pub(super) fn work(&mut self, work: &Work) {
        match work {
            Work::Delivered(delivered) => self.delivered(delivered),
            Work::Unreadable(unread) => self.unreadable(unread),
            Work::Due(key, watermark) => self.existing(key, &Input::Due(*watermark)),
            Work::Reconsider(key) => self.existing(key, &Input::Reconsider),
            Work::Settled { order, confirmation, is_input } => {
                self.changes.settled.push((confirmation.key, confirmation.verdict.clone()));
                if *is_input {
                    self.existing(order, &Input::Confirmation(confirmation.clone()));
                }
            }
            Work::Command(key, command) => self.command(key, command),
            Work::Migrate(key, migration) => self.migrate(key, migration),
            Work::Resolved(resolved) => self.changes.resolved.push(resolved.clone()),
            Work::Doubt(doubt) => self.doubt(doubt.clone()),
        }
    }

    fn unreadable(&mut self, Unread { message, doubt }: &Unread) {
        self.changes.tally.count(message.saga.as_deref(), Outcome::Quarantined);
        if *doubt {
            self.doubt(NewDoubt {
                kind: DoubtKind::Quarantine,
                saga: message.saga.clone(),
                from: self.loaded.now,
                to: self.loaded.now,
                event: message.event.clone(),
                order_id: message.order_id.clone(),
                detail: format!("{}: {}", message.reason.word(), message.detail),
                quarantined: Some(self.changes.quarantined.len()),
            });
        }
        self.changes.quarantined.push((**message).clone());
    }

    /// Holds from the next input on, as if the batch ended here.
    pub(super) fn doubt(&mut self, doubt: NewDoubt) {
        let NewDoubt { kind, saga, from, to, event, order_id, detail: _, quarantined: _ } = doubt.clone();
        self.doubts.push(Doubt { id: 0, kind, saga, from, to, event, order_id });
        self.changes.doubts.push(doubt);
    }

    /// Rule 2: without an id, a message is a duplicate only if the broker says so and the tap's last batch held it.
    fn delivered(&mut self, delivered: &Delivered) {
        let mut again = None;
        for arrival in &delivered.arrivals {
            if arrival.is_without_id() && *again.get_or_insert_with(|| self.was_in_last_batch(delivered)) {
                self.changes.tally.count(Some(&arrival.saga), Outcome::Duplicate);
                continue;
            }
            self.arrival(arrival, &delivered.message);
        }
        self.this_batch.extend(delivered.content_hash);
    }

    fn was_in_last_batch(&mut self, delivered: &Delivered) -> bool {
        delivered.redelivered
            && !is_planted(Bug::LastBatchForgotten)
            && delivered.content_hash.is_some_and(|hash| take_from(&mut self.last_batch, hash))
    }

    fn arrival(&mut self, arrival: &Arrival, message: &RawMessage) {
        let Some(newest) = self.plan.catalog.newest(&arrival.saga).cloned() else { return };
        match self.place(arrival, &newest) {
            Placed::In(key, saga, event) => self.apply_event(&key, &saga, event, message),
            Placed::Ignored => match &arrival.unread {
                Some(unread) => self.unreadable(unread),
                None => self.changes.tally.count(Some(&arrival.saga), Outcome::Ignored),
            },
            Placed::Duplicate => self.changes.tally.count(Some(&arrival.saga), Outcome::Duplicate),
            Placed::Nowhere(event) => {
                let reason = QuarantineReason::Unplaced;
                let detail = format!("no order of saga {} waits for {}", arrival.saga, event.name);
                self.quarantine(message, reason, detail, Some(&arrival.saga), Some(&event.name), None);
            }
            Placed::Unknown(key, version, event) => {
                let reason = QuarantineReason::CorruptOrder;
                let detail = format!("order {key} is on version {version} of its saga, which is not known here");
                self.quarantine(message, reason, detail, Some(&key.saga), Some(&event), Some(&key.order_id));
            }
        }
    }

    fn apply_event(&mut self, key: &OrderKey, saga: &Arc<Saga>, event: Event, message: &RawMessage) {
        if let Some(why) = self.loaded.corrupt.get(key) {
            let detail = format!("the stored row of order {key} cannot be read: {why}");
            let reason = QuarantineReason::CorruptOrder;
            return self.quarantine(message, reason, detail, Some(&key.saga), Some(&event.name), Some(&key.order_id));
        }
        let payload = Arc::clone(&event.payload);
        let outcome = self.run(key, saga, &Input::Event(Box::new(event)));
        let outcome = match outcome {
            Ok(Some((ResultOf::Duplicate, _))) => Outcome::Duplicate,
            Ok(Some((result, sequence))) => {
                self.changes.payloads.push(SavedPayload { order: key.clone(), sequence, payload });
                match result {
                    ResultOf::Late => Outcome::Late,
                    ResultOf::Applied | ResultOf::Duplicate => Outcome::Applied,
                }
            }
            // Only commands can misfit, and an event always has a definition.
            Ok(None) | Err(_) => Outcome::Ignored,
        };
        self.changes.tally.count(Some(&key.saga), outcome);
    }

    fn quarantine(
        &mut self,
        message: &RawMessage,
        reason: QuarantineReason,
        detail: String,
        saga: Option<&str>,
        event: Option<&str>,
        order_id: Option<&str>,
    ) {
        self.changes.tally.count(saga, Outcome::Quarantined);
        self.changes.quarantined.push(Quarantined {
            saga: saga.map(str::to_owned),
            event: event.map(str::to_owned),
            order_id: order_id.map(str::to_owned),
            ..message.quarantined(reason, detail)
        });
    }

    /// An input for an order that must exist; if it does not (any more), nothing follows.
    fn existing(&mut self, key: &OrderKey, input: &Input) {
        let Some(saga) = self.saga_of(key) else { return };
        let before = self.order(key).map(|order| (order.sequence, order.next_due()));
        let ran = self.run(key, &saga, input);
        let (Input::Due(_), Ok(Some((_, sequence))), Some((before, due))) = (input, ran, before) else { return };
        if sequence > before {
            self.changes.tally.deadlines_fired += 1;
            self.changes.fire_delays.extend(due.map(|due| self.loaded.now.since(due)));
        }
    }

    fn command(&mut self, key: &OrderKey, command: &Command) {
        let Some(saga) = self.saga_of(key) else {
            let misfit = Misfit(format!("order {key} is not there, or its definition is not"));
            return self.changes.answers.push(Err(misfit));
        };
        let answer = self.run(key, &saga, &Input::Command(command.clone()));
        self.changes.answers.push(answer.map(|ran| ran.map_or(0, |(_, first)| first)));
    }

    fn saga_of(&self, key: &OrderKey) -> Option<Arc<Saga>> {
        let version = self.order(key)?.version;
        self.plan.catalog.version(&key.saga, version).cloned()
    }

    pub(super) fn order(&self, key: &OrderKey) -> Option<&Order> {
        self.working.get(key).map(|working| &working.order).or_else(|| self.loaded.orders.get(key))
    }

    /// Runs the machine on the order's working copy. Answers what the input was and the sequence of its first entry.
    fn run(&mut self, key: &OrderKey, saga: &Arc<Saga>, input: &Input) -> Result<Option<(ResultOf, u64)>, Misfit> {
        let now = self.loaded.now;
        if !self.working.contains_key(key) {
            let working = self.begin_working(key, saga, now);
            self.working.insert(key.clone(), working);
        }
        let braked = self.is_braked(&key.saga);
        let Some(working) = self.working.get_mut(key) else { return Ok(None) };
        let circumstances = Circumstances {
            now,
            mode: self.loaded.modes.get(&key.saga).copied().unwrap_or(saga.mode),
            braked,
            doubts: &self.doubts,
        };
        let first = working.order.sequence + 1;
        let outcome = machine::apply(saga, working.order.clone(), &mut working.stored, input, &circumstances)?;
        working.order = outcome.order;
        working.entries.extend(outcome.entries);
        working.attributes_changed |= outcome.attributes_changed;
        let last = working.order.sequence;
        self.send(key, outcome.withdrawn, outcome.outbox);
        self.tell_brake(&key.saga, outcome.turned_by_timeout, outcome.held);
        Ok(Some((outcome.result, if last >= first { first } else { first - 1 })))
    }

    /// The brake's verdict on the next order of the saga.
    fn is_braked(&self, saga: &str) -> bool {
        let known = self.plan.brake_of(saga).zip(self.states.get(saga));
        known.is_some_and(|(limit, state)| state.brake.holds(limit, self.loaded.now))
    }

    /// What the brake of the saga counts: an order that turned back by timeout, or that it held.
    fn tell_brake(&mut self, saga: &str, turned: bool, held: bool) {
        let now = self.loaded.now;
        let Some((limit, state)) = self.plan.brake_of(saga).zip(self.states.get_mut(saga)) else { return };
        if !turned && !held {
            return;
        }
        if turned {
            state.count(limit, now);
        }
        let latched = if held && !is_planted(Bug::BrakeNotLatched) { state.latch(saga, limit, now) } else { None };
        self.about_sagas.entry(saga.to_owned()).or_default().extend(latched);
    }

    pub(super) fn send(&mut self, key: &OrderKey, withdrawn: bool, outbox: Vec<Outgoing>) {
        if withdrawn {
            // What an earlier input of this batch asked for is not in the store yet.
            self.changes.outbox.retain(|row| row.order != *key || !row.content.asks());
            self.changes.withdrawn.push(key.clone());
        }
        self.changes.outbox.extend(outbox);
    }

    pub(super) fn begin_working(&self, key: &OrderKey, saga: &Arc<Saga>, now: Moment) -> Working {
        let existing = self.loaded.orders.get(key);
        let stored = self.loaded.stored_events.range((key.clone(), 0)..=(key.clone(), u64::MAX));
        let read_back = |((_, sequence), payload): (&(OrderKey, u64), &StoredPayload)| {
            let name = event_name(existing?, *sequence)?;
            Some((*sequence, (self.plan.read_stored)(saga, name, payload)?))
        };
        Working {
            saga: Arc::clone(saga),
            order: existing.cloned().unwrap_or_else(|| Order::begin(key.clone(), saga.version, saga.steps.len(), now)),
            stored: stored.filter_map(read_back).collect(),
            entries: Vec::new(),
            is_new: existing.is_none(),
            attributes_changed: false,
        }
    }

    pub(super) fn finish(mut self) -> Changes {
        for (key, working) in self.working {
            let unchanged = working.entries.is_empty()
                && self.loaded.orders.get(&key).is_none_or(|order| order.duplicates == working.order.duplicates);
            if unchanged {
                continue;
            }
            self.changes.orders.push(SavedOrder {
                order: working.order,
                step_names: working.saga.step_names(),
                entries: working.entries,
                is_new: working.is_new,
                attributes_changed: working.attributes_changed,
            });
        }
        for (saga, entries) in self.about_sagas {
            if let Some(state) = self.states.remove(&saga) {
                self.changes.states.push(SavedState { saga, state, entries });
            }
        }
        // Only what is not known by its identity needs the token.
        let has_marks = !self.this_batch.is_empty();
        if has_marks || !self.changes.quarantined.is_empty() || !self.changes.doubts.is_empty() {
            self.this_batch.extend(self.plan.token.filter(|token| !self.this_batch.contains(token)));
        }
        self.changes.counters = self.counters;
        if let Some(tap) = &self.plan.tap {
            let still = self.last_batch.into_iter().filter(|_| !tap.is_fresh);
            let last_batch = self.this_batch.into_iter().chain(still).collect();
            self.changes.tap = Some(TapProgress { name: tap.name.clone(), watermark: tap.watermark, last_batch });
        }
        self.changes
    }
}

/// Uses up one entry; `false` if there is none.
fn take_from(hashes: &mut VecDeque<Digest>, hash: Digest) -> bool {
    let place = hashes.iter().position(|known| *known == hash);
    place.and_then(|place| hashes.remove(place)).is_some()
}

/// The name of the event of a journal entry, as the order remembers it.
fn event_name(order: &Order, sequence: u64) -> Option<&str> {
    order.steps.iter().find_map(|step| {
        let seen = [&step.event, &step.trigger, &step.failure].into_iter().flatten();
        let exact = seen.clone().find(|sighting| sighting.sequence == sequence);
        let part = step.parts.values().any(|part| *part == sequence).then_some(step.event.as_ref()).flatten();
        exact.or(part).map(|sighting| sighting.name.as_str())
    })
}
