//! The machine: what follows from one input to one order. DESIGN's fifteen rules, pure.
//!
//! It interprets the definition as data. No I/O, clock, randomness or log: `now`, the mode, the brake's verdict and the
//! doubts are arguments, and what it returns is all it does.
//!
//! ```text
//!            ┌ events.rs        rules 1, 2, 4, 13   what an event means to each step it names
//!   input ───┼ deadlines.rs     rules 6, 10         what happens when something is overdue
//!            ├ confirmation.rs  rules 10, 12        the broker's word on what was asked
//!            └ actions.rs       rule 15             what a person asks; migrating.rs: to go on under another version
//!                  │
//!                  ▼
//!            opening.rs         rule 3              steps that can open now, and the end of the order
//!            turning.rs         rules 7, 9, 11, 14  whether the order turns back
//!            compensation.rs    rule 12             undoing, in rounds and in reverse order
//!            doubt.rs           rule 8              what keeps the order from acting
//!            tellings.rs                            what is published about it
//!                  │
//!                  ▼
//!            journal entries (after-images), outbox rows, the order as it is now
//! ```
//!
//! The parts work on one copy of the order. Whoever changed it calls `Machine::record`, which settles the status, tells
//! about it, and writes down what is different since the last entry: so the trail folds to the order by construction.

mod actions;
mod compensation;
mod confirmation;
mod deadlines;
mod doubt;
mod events;
mod migrating;
mod opening;
mod tellings;
mod turning;

use std::collections::BTreeMap;

use serde_json::Value;

use super::batch::Sealed;
use super::definition::{Saga, StepIx, Telling};
use super::input::{Event, Input, Misfit};
use super::journal::{AttributeChange, Began, Entry, EntryBody, Kind, LifeChange, Migrated, StepChange, chain};
use super::order::{Circumstances, Life, Need, Order, Status, StepState, StepStatus, StuckReason, TurnPhase, Unproven};
use super::outgoing::{Content, Outgoing, derived_id};

pub use doubt::unproven;
pub use migrating::{Migrating, migrate, reads_alike};
pub use opening::{expected_steps, opener};

/// Stored events of one order by journal sequence, as expressions see them: `{"body": …, "headers": …}`.
pub type StoredEvents = BTreeMap<u64, Value>;

/// What followed from one input.
#[expect(clippy::struct_excessive_bools, reason = "independent facts about one run")]
#[derive(Clone, Debug)]
pub struct Outcome {
    pub order: Order,
    /// In sequence; empty for a duplicate and for a due moment at which nothing was due.
    pub entries: Vec<Sealed>,
    pub outbox: Vec<Outgoing>,
    /// Retries and compensations of this order that were written before and are unsent are not to be sent any more; those of
    /// `outbox` are.
    pub withdrawn: bool,
    pub attributes_changed: bool,
    /// The order turned back by timeout: what the brake counts (rule 14).
    pub turned_by_timeout: bool,
    /// The brake held the order: what latches it.
    pub held: bool,
    pub result: ResultOf,
}

/// What an input turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResultOf {
    Applied,
    Duplicate,
    Late,
}

/// Applies one input to an order that was begun with this definition.
///
/// # Errors
/// A command that does not fit where the order stands; nothing follows from it.
pub fn apply(
    saga: &Saga,
    order: Order,
    stored: &mut StoredEvents,
    input: &Input,
    with: &Circumstances<'_>,
) -> Result<Outcome, Misfit> {
    let mut machine = Machine::new(saga, order, stored, with);
    let result = match input {
        Input::Event(event) => machine.event(event),
        Input::Due(watermark) => machine.due(*watermark),
        Input::Confirmation(confirmation) => machine.confirmation(confirmation),
        Input::Command(command) => machine.command(command)?,
        Input::Reconsider => machine.reconsider(),
    };
    Ok(machine.finish(result))
}

/// One run of the machine: the working copy, and what has come of it so far.
#[expect(clippy::struct_excessive_bools, reason = "independent facts about one run")]
struct Machine<'a> {
    saga: &'a Saga,
    with: Circumstances<'a>,
    stored: &'a mut StoredEvents,
    order: Order,
    /// The order as the last entry left it.
    steps_before: Vec<StepState>,
    life_before: Life,
    entries: Vec<Sealed>,
    outbox: Vec<Outgoing>,
    /// Message ids written to the outbox since the last entry.
    published: Vec<String>,
    /// What to tell with the next entry, once it is known where the order stands then.
    tellings: Vec<(Telling, Option<StepIx>)>,
    attributes: Vec<AttributeChange>,
    /// Events that lost against others: written after the entry that decided it (rule 1).
    lost: Vec<(String, String)>,
    /// What would have been sent in mode `observe`: written after the entry that decided it (rule 9).
    would_send: Vec<String>,
    withdrawn: bool,
    attributes_changed: bool,
    turned_by_timeout: bool,
    /// The order was moved to another version, which the next entry says.
    migrated: Option<Migrated>,
    held: bool,
    /// The event being applied was read within a second of its publishing.
    live: bool,
}

/// What an entry says beside what changed.
#[derive(Default)]
struct Note<'e> {
    name: Option<String>,
    step: Option<StepIx>,
    event: Option<&'e Event>,
    reason: Option<String>,
    actor: Option<String>,
    unproven: Vec<Unproven>,
    would_send: Vec<String>,
}

impl Note<'_> {
    fn named(name: impl Into<String>) -> Self {
        Self { name: Some(name.into()), ..Self::default() }
    }

    fn about(mut self, step: StepIx) -> Self {
        self.step = Some(step);
        self
    }

    fn because(mut self, reason: impl Into<String>) -> Self {
        self.reason = Some(reason.into());
        self
    }
}

impl<'a> Machine<'a> {
    fn new(saga: &'a Saga, order: Order, stored: &'a mut StoredEvents, with: &Circumstances<'a>) -> Self {
        // A clock that went back must not make the trail go back.
        let with = Circumstances { now: with.now.max(order.updated_at), ..with.clone() };
        Self {
            saga,
            with,
            stored,
            steps_before: order.steps.clone(),
            life_before: order.life.clone(),
            order,
            entries: Vec::new(),
            outbox: Vec::new(),
            published: Vec::new(),
            tellings: Vec::new(),
            attributes: Vec::new(),
            lost: Vec::new(),
            would_send: Vec::new(),
            withdrawn: false,
            attributes_changed: false,
            turned_by_timeout: false,
            migrated: None,
            held: false,
            live: false,
        }
    }

    fn finish(self, result: ResultOf) -> Outcome {
        Outcome {
            order: self.order,
            entries: self.entries,
            outbox: self.outbox,
            withdrawn: self.withdrawn,
            attributes_changed: self.attributes_changed,
            turned_by_timeout: self.turned_by_timeout,
            held: self.held,
            result,
        }
    }

    /// Sequence of the entry that is being made.
    fn sequence(&self) -> u64 {
        self.order.sequence + 1
    }

    fn step(&mut self, step: StepIx) -> &mut StepState {
        &mut self.order.steps[step]
    }

    fn status_of(&self, step: StepIx) -> StepStatus {
        self.order.steps[step].status
    }

    /// Something only a person can resolve.
    fn need(&mut self, reason: StuckReason, step: Option<StepIx>, detail: Option<String>) {
        if !self.order.life.needs.iter().any(|need| need.reason == reason && need.step == step) {
            self.order.life.needs.push(Need { reason, step, since: self.with.now, detail });
        }
    }

    fn resolve(&mut self, step: StepIx) {
        self.order.life.needs.retain(|need| need.step != Some(step));
    }

    fn has_need(&self, reason: StuckReason, step: Option<StepIx>) -> bool {
        self.order.life.needs.iter().any(|need| need.reason == reason && need.step == step)
    }

    /// Nothing is expected any more: everything is disarmed.
    fn end(&mut self, status: Status) {
        let life = &mut self.order.life;
        life.status = status;
        life.ended_at = Some(self.with.now);
        life.deadline = None;
        life.needs.clear();
        for step in &mut self.order.steps {
            step.deadline = None;
            step.awaiting = None;
        }
    }

    /// Opens what can open, undoes what is already undone, and ends the order when nothing is left.
    fn settle(&mut self) {
        self.reinstate();
        if self.order.has_turned() {
            self.settle_undoing();
        } else if !self.order.life.status.is_ended() {
            self.settle_steps();
        }
    }

    /// Settles, writes the entry, and then, each with an entry of its own, what follows from it.
    fn conclude(&mut self, kind: Kind, note: Note<'_>) {
        self.settle();
        self.record(kind, note);
        for (name, winner) in std::mem::take(&mut self.lost) {
            self.record(Kind::Conflict, Note::named(name).because(events::lost_against(&winner)));
        }
        if !self.would_send.is_empty() {
            let would_send = std::mem::take(&mut self.would_send);
            self.record(Kind::WouldSend, Note { would_send, ..Note::default() });
        }
        self.ask_compensations();
    }

    /// Writes down what is different since the last entry.
    fn record(&mut self, kind: Kind, note: Note<'_>) {
        self.settle_status();
        self.send_tellings();
        let sequence = self.sequence();
        let body = self.entry_body(&note);
        let text = serde_json::to_string(&body).unwrap_or_default();
        let at = self.with.now;
        let hash = chain(&self.order.head, &self.order.key, sequence, at, kind, note.actor.as_deref(), &text);
        self.order.sequence = sequence;
        self.order.updated_at = at;
        self.order.head = hash;
        self.steps_before.clone_from(&self.order.steps);
        self.life_before.clone_from(&self.order.life);
        self.entries.push(Sealed { entry: Entry { sequence, at, kind, actor: note.actor, body }, text, hash });
    }

    fn entry_body(&mut self, note: &Note<'_>) -> EntryBody {
        let steps = self.order.steps.iter().zip(&self.steps_before).enumerate();
        let steps = steps.filter(|(_, (now, before))| now != before);
        let steps =
            steps.map(|(step, (now, before))| StepChange { step, from: before.status, now: now.clone() }).collect();
        let life = (self.order.life != self.life_before)
            .then(|| Box::new(LifeChange { from: self.life_before.status, now: self.order.life.clone() }));
        let began =
            (self.order.sequence == 0).then_some(Began { version: self.order.version, steps: self.order.steps.len() });
        EntryBody {
            name: note.name.clone(),
            step: note.step,
            message: note.event.map(|event| event.message.clone()),
            reason: note.reason.clone(),
            inferred: note.event.is_some_and(|event| event.inferred),
            published: std::mem::take(&mut self.published),
            would_send: note.would_send.clone(),
            unproven: note.unproven.clone(),
            payload_hash: note.event.map(|event| super::journal::hex(&event.payload.salted_hash())),
            identity: note.event.and_then(|event| event.identity).map(|identity| super::journal::hex(&identity)),
            began,
            migrated: self.migrated.take(),
            steps,
            life,
            attributes: std::mem::take(&mut self.attributes),
        }
    }

    /// The status that follows from needs and turning, and what is told about the change.
    fn settle_status(&mut self) {
        if self.order.life.ended_at.is_none() {
            self.order.life.status = if !self.order.life.needs.is_empty() {
                Status::Stuck
            } else if self.order.has_turned() {
                Status::Compensating
            } else {
                Status::Running
            };
        }
        let (before, now) = (self.life_before.status, self.order.life.status);
        let was_turned = self.life_before.turn.as_ref().is_some_and(|turn| matches!(turn.phase, TurnPhase::Turned(_)));
        let turns = (self.order.has_turned() && !was_turned) || before.is_ended();
        if turns && matches!(now, Status::Compensating | Status::Stuck) && self.order.has_turned() {
            self.tell(Telling::Compensating, None);
        }
        if before == now {
            return;
        }
        let telling = match now {
            Status::Stuck => Telling::Stuck,
            Status::Completed => Telling::Completed,
            Status::Compensated => Telling::Compensated,
            Status::Cancelled => Telling::Cancelled,
            Status::Failed => Telling::Failed,
            // Turning is told above, once. A person, or a deadline that closes what never began, needs no telling.
            Status::Compensating | Status::Running | Status::Closed => return,
        };
        self.tell(telling, None);
    }

    /// Writes a row to the outbox.
    fn send(&mut self, message_id: String, content: Content) -> uuid::Uuid {
        let (sequence, place) = (self.sequence(), u32::try_from(self.published.len()).unwrap_or(u32::MAX));
        let order = self.order.key.clone();
        let key = derived_id(&[&order.saga, &order.order_id, &sequence.to_string(), &place.to_string(), "outbox"]);
        self.published.push(message_id.clone());
        self.outbox.push(Outgoing { key, order, sequence, place, message_id, content });
        key
    }
}
