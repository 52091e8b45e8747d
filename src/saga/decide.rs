//! What a batch comes to: finds the order each input belongs to and runs the machine, one input after the other.
//!
//! Pure, and a function of its arguments alone: the store may ask again after a conflict. How a batch is split changes
//! nothing but the moments written down. One order's trouble (an unreadable row, a command that does not fit) stays its
//! own.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use serde_json::Value;

use super::batch::{
    Changes, Loaded, Lookup, NewDoubt, QuarantineReason, Quarantined, Resolved, SavedOrder, SavedPayload, Sealed,
    StoredPayload, TapProgress,
};
use super::catalog::Catalog;
use super::definition::{Role, Saga};
use super::input::{Command, Confirmation, Event, Input, Misfit};
use super::machine::{self, ResultOf, StoredEvents};
use super::order::{Circumstances, Digest, DoubtKind, Order, OrderKey, StepStatus};
use super::time::Moment;

/// One thing a batch has to deal with.
#[derive(Clone, Debug)]
pub enum Work {
    Delivered(Delivered),
    /// A message that could not be read; with `doubt`, it may have been what an order waits for.
    Unreadable {
        message: Box<Quarantined>,
        doubt: bool,
    },
    /// The watermark of the order's saga has passed this moment.
    Due(OrderKey, Moment),
    /// The word on an outbox row; for a telling the order need not be touched.
    Settled {
        order: OrderKey,
        confirmation: Confirmation,
        is_input: bool,
    },
    Command(OrderKey, Box<Command>),
    /// A doubt about this order may have gone.
    Reconsider(OrderKey),
    /// A quarantined message is dealt with.
    Resolved(Resolved),
    /// Something may have been missed.
    Doubt(NewDoubt),
}

/// One delivery, as the sagas that watch its exchange read it.
#[derive(Clone, Debug)]
pub struct Delivered {
    /// One for each saga that names the event.
    pub arrivals: Vec<Arrival>,
    pub redelivered: bool,
    /// Hash of place and content: what stands for the id of a message without one.
    pub content_hash: Digest,
    /// For quarantine, should it find no place.
    pub message: Arc<RawMessage>,
}

/// A message as it came.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RawMessage {
    pub exchange: String,
    pub routing_key: String,
    pub envelope: Value,
    /// Cut to what is kept.
    pub body: Vec<u8>,
    pub body_bytes: u64,
}

/// One delivery for one saga.
#[derive(Clone, Debug)]
pub struct Arrival {
    pub saga: String,
    /// As each version reads it, newest first; versions that do not name it are missing.
    pub candidates: Vec<Candidate>,
}

/// A delivery as one version reads it.
#[derive(Clone, Debug)]
pub struct Candidate {
    pub version: u32,
    pub place: OrderRef,
    pub event: Event,
}

/// Which order a message belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OrderRef {
    Id(String),
    /// By the order of arrival (rule 5).
    Arrival,
}

/// Reads a stored message back as expressions see it, `{"body": …, "headers": …}`, by the event's name.
pub type ReadStored = fn(&Saga, &str, &StoredPayload) -> Option<Value>;

/// What decides beside what was loaded.
#[derive(Clone, Debug)]
pub struct Plan {
    pub catalog: Arc<Catalog>,
    pub work: Vec<Work>,
    /// How many more orders of a saga may turn back by timeout before the brake holds (rule 14); missing means no brake.
    pub brakes: BTreeMap<String, u32>,
    /// The batch came from this tap, up to this canary.
    pub tap: Option<(String, Option<Moment>)>,
    /// Names this very batch: found in what the tap's last batch left behind, it says that the batch is applied already and only
    /// the answer to its commit was lost.
    pub token: Option<Digest>,
    pub idempotency_key: Option<String>,
    pub read_stored: ReadStored,
}

/// Open orders of a saga placed by arrival that are loaded beside one for each of its messages: how far behind the
/// oldest an order may be and still be found when those before it wait for something else.
const LINE_MARGIN: usize = 200;

impl Plan {
    /// What to load for this batch.
    pub fn lookup(&self) -> Lookup {
        let mut lookup = Lookup {
            tap: self.tap.as_ref().map(|(name, _)| name.clone()),
            idempotency_key: self.idempotency_key.clone(),
            ..Lookup::default()
        };
        for work in &self.work {
            match work {
                Work::Delivered(delivered) => Self::look_up_delivered(delivered, &mut lookup),
                Work::Due(key, _) | Work::Command(key, _) | Work::Reconsider(key) => {
                    lookup.orders.insert(key.clone());
                }
                Work::Settled { order, is_input, .. } => {
                    if *is_input {
                        lookup.orders.insert(order.clone());
                    }
                }
                Work::Unreadable { .. } | Work::Resolved(_) | Work::Doubt(_) => {}
            }
        }
        let sagas: Vec<String> = lookup.orders.iter().map(|key| key.saga.clone()).collect();
        for saga in sagas.into_iter().chain(lookup.arrivals.keys().cloned()) {
            if self.catalog.versions(&saga).any(|version| version.reads_stored_events()) {
                lookup.sagas_reading_events.insert(saga);
            }
        }
        lookup
    }

    fn look_up_delivered(delivered: &Delivered, lookup: &mut Lookup) {
        for arrival in &delivered.arrivals {
            for candidate in &arrival.candidates {
                match &candidate.place {
                    OrderRef::Id(order_id) => {
                        lookup.orders.insert(OrderKey { saga: arrival.saga.clone(), order_id: order_id.clone() });
                    }
                    OrderRef::Arrival => {
                        *lookup.arrivals.entry(arrival.saga.clone()).or_insert(LINE_MARGIN) += 1;
                    }
                }
            }
        }
    }

    /// Decides the whole batch.
    pub fn decide(&self, loaded: &Loaded) -> Changes {
        let mut deciding = Deciding {
            plan: self,
            loaded,
            working: BTreeMap::new(),
            lines: loaded.lines.iter().map(|(saga, keys)| (saga.clone(), keys.clone())).collect(),
            counters: BTreeMap::new(),
            last_batch: loaded.last_batch.iter().copied().collect(),
            this_batch: Vec::new(),
            brakes: self.brakes.clone(),
            changes: Changes { idempotency_key: self.idempotency_key.clone(), ..Changes::default() },
        };
        if let Some(sequence) = loaded.answered {
            deciding.changes.answers.push(Ok(sequence));
            deciding.changes.idempotency_key = None;
            return deciding.changes;
        }
        if self.token.is_some_and(|token| loaded.last_batch.contains(&token)) {
            deciding.this_batch.clone_from(&loaded.last_batch);
            return deciding.finish();
        }
        for work in &self.work {
            deciding.work(work);
        }
        // Only messages without an id need it: the others are known by their identity.
        if !deciding.this_batch.is_empty() {
            deciding.this_batch.extend(self.token);
        }
        deciding.finish()
    }
}

/// One run over a batch.
struct Deciding<'a> {
    plan: &'a Plan,
    loaded: &'a Loaded,
    working: BTreeMap<OrderKey, Working>,
    lines: BTreeMap<String, Vec<OrderKey>>,
    counters: BTreeMap<String, u64>,
    last_batch: VecDeque<Digest>,
    this_batch: Vec<Digest>,
    brakes: BTreeMap<String, u32>,
    changes: Changes,
}

/// An order the batch touched.
struct Working {
    saga: Arc<Saga>,
    order: Order,
    stored: StoredEvents,
    entries: Vec<Sealed>,
    is_new: bool,
    attributes_changed: bool,
}

impl Deciding<'_> {
    fn work(&mut self, work: &Work) {
        match work {
            Work::Delivered(delivered) => self.delivered(delivered),
            Work::Unreadable { message, doubt } => self.unreadable(message, *doubt),
            Work::Due(key, watermark) => self.existing(key, &Input::Due(*watermark)),
            Work::Reconsider(key) => self.existing(key, &Input::Reconsider),
            Work::Settled { order, confirmation, is_input } => {
                self.changes.settled.push((confirmation.key, confirmation.verdict.clone()));
                if *is_input {
                    self.existing(order, &Input::Confirmation(confirmation.clone()));
                }
            }
            Work::Command(key, command) => self.command(key, command),
            Work::Resolved(resolved) => self.changes.resolved.push(resolved.clone()),
            Work::Doubt(doubt) => self.changes.doubts.push(doubt.clone()),
        }
    }

    fn unreadable(&mut self, message: &Quarantined, doubt: bool) {
        self.changes.tally.quarantined += 1;
        if doubt {
            self.changes.doubts.push(NewDoubt {
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
        self.changes.quarantined.push(message.clone());
    }

    /// Rule 2: without an id, a message is a duplicate only if the broker says so and the tap's last batch held it.
    fn delivered(&mut self, delivered: &Delivered) {
        let mut without_id = false;
        let mut again = None;
        for arrival in &delivered.arrivals {
            let unidentified = arrival
                .candidates
                .iter()
                .any(|candidate| candidate.event.identity.is_none() || candidate.place == OrderRef::Arrival);
            without_id |= unidentified;
            if unidentified && *again.get_or_insert_with(|| self.was_in_last_batch(delivered)) {
                self.changes.tally.duplicate += 1;
                continue;
            }
            self.arrival(arrival, &delivered.message);
        }
        if without_id {
            self.this_batch.push(delivered.content_hash);
        }
    }

    fn was_in_last_batch(&mut self, delivered: &Delivered) -> bool {
        let place = self.last_batch.iter().position(|hash| *hash == delivered.content_hash);
        delivered.redelivered && place.and_then(|place| self.last_batch.remove(place)).is_some()
    }

    fn arrival(&mut self, arrival: &Arrival, message: &RawMessage) {
        let Some(newest) = self.plan.catalog.newest(&arrival.saga).cloned() else { return };
        let placed = match arrival.candidates.first().map(|candidate| &candidate.place) {
            Some(OrderRef::Arrival) => self.place_by_arrival(arrival, &newest),
            Some(OrderRef::Id(_)) => self.place_by_id(arrival, &newest),
            None => Placed::Ignored,
        };
        match placed {
            Placed::In(key, saga, event) => self.apply_event(&key, &saga, event, message),
            Placed::Ignored => self.changes.tally.ignored += 1,
            Placed::Duplicate => self.changes.tally.duplicate += 1,
            Placed::Nowhere(event) => {
                let reason = QuarantineReason::Unplaced;
                let detail = format!("no order of saga {} waits for {}", arrival.saga, event.name);
                self.quarantine(message, reason, detail, Some(&arrival.saga), Some(&event.name), None);
            }
        }
    }

    /// The newest version reads; an older one takes the message if it names one of its own open orders.
    fn place_by_id(&self, arrival: &Arrival, newest: &Arc<Saga>) -> Placed {
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
    fn place_by_arrival(&mut self, arrival: &Arrival, newest: &Arc<Saga>) -> Placed {
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

    fn apply_event(&mut self, key: &OrderKey, saga: &Arc<Saga>, event: Event, message: &RawMessage) {
        if let Some(why) = self.loaded.corrupt.get(key) {
            let detail = format!("the stored row of order {key} cannot be read: {why}");
            let reason = QuarantineReason::CorruptOrder;
            return self.quarantine(message, reason, detail, Some(&key.saga), Some(&event.name), Some(&key.order_id));
        }
        let payload = Arc::clone(&event.payload);
        let outcome = self.run(key, saga, &Input::Event(Box::new(event)));
        match outcome {
            Ok(Some((ResultOf::Duplicate, _))) => self.changes.tally.duplicate += 1,
            Ok(Some((result, sequence))) => {
                self.changes.payloads.push(SavedPayload { order: key.clone(), sequence, payload });
                match result {
                    ResultOf::Late => self.changes.tally.late += 1,
                    ResultOf::Applied | ResultOf::Duplicate => self.changes.tally.applied += 1,
                }
            }
            // Only commands can misfit, and an event always has a definition.
            Ok(None) | Err(_) => self.changes.tally.ignored += 1,
        }
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
        self.changes.tally.quarantined += 1;
        self.changes.quarantined.push(Quarantined {
            reason,
            detail,
            saga: saga.map(str::to_owned),
            event: event.map(str::to_owned),
            order_id: order_id.map(str::to_owned),
            exchange: message.exchange.clone(),
            routing_key: message.routing_key.clone(),
            envelope: message.envelope.clone(),
            body: message.body.clone(),
            body_bytes: message.body_bytes,
        });
    }

    /// An input for an order that must exist; if it does not (any more), nothing follows.
    fn existing(&mut self, key: &OrderKey, input: &Input) {
        let Some(saga) = self.saga_of(key) else { return };
        let before = self.order(key).map_or(0, |order| order.sequence);
        let ran = self.run(key, &saga, input);
        if let (Input::Due(_), Ok(Some((_, sequence)))) = (input, ran) {
            self.changes.tally.deadlines_fired += u64::from(sequence > before);
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

    fn order(&self, key: &OrderKey) -> Option<&Order> {
        self.working.get(key).map(|working| &working.order).or_else(|| self.loaded.orders.get(key))
    }

    /// Runs the machine on the order's working copy. Answers what the input was and the sequence of its first entry.
    fn run(&mut self, key: &OrderKey, saga: &Arc<Saga>, input: &Input) -> Result<Option<(ResultOf, u64)>, Misfit> {
        let now = self.loaded.now;
        if !self.working.contains_key(key) {
            let working = self.begin_working(key, saga, now);
            self.working.insert(key.clone(), working);
        }
        let Some(working) = self.working.get_mut(key) else { return Ok(None) };
        let circumstances = Circumstances {
            now,
            mode: self.loaded.modes.get(&key.saga).copied().unwrap_or(saga.mode),
            braked: self.brakes.get(&key.saga) == Some(&0),
            doubts: &self.loaded.doubts,
        };
        let first = working.order.sequence + 1;
        let outcome = machine::apply(saga, working.order.clone(), &mut working.stored, input, &circumstances)?;
        working.order = outcome.order;
        working.entries.extend(outcome.entries);
        working.attributes_changed |= outcome.attributes_changed;
        self.changes.outbox.extend(outcome.outbox);
        if outcome.withdrawn {
            self.changes.withdrawn.push(key.clone());
        }
        if outcome.turned_by_timeout {
            *self.changes.turned_by_timeout.entry(key.saga.clone()).or_default() += 1;
            if let Some(left) = self.brakes.get_mut(&key.saga) {
                *left = left.saturating_sub(1);
            }
        }
        Ok(Some((outcome.result, if working.order.sequence >= first { first } else { first - 1 })))
    }

    fn begin_working(&self, key: &OrderKey, saga: &Arc<Saga>, now: Moment) -> Working {
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

    fn finish(mut self) -> Changes {
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
        self.changes.counters = self.counters;
        self.changes.tap =
            self.plan.tap.clone().map(|(name, watermark)| TapProgress { name, watermark, last_batch: self.this_batch });
        self.changes
    }
}

/// Where a message belongs.
enum Placed {
    In(OrderKey, Arc<Saga>, Event),
    Ignored,
    Duplicate,
    Nowhere(Event),
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
