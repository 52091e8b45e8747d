//! An order moves to another version of its definition, by a person's command.
//!
//! Steps are matched by name. What a step has been through goes along; a step that is new opens by rule 3, as if looked at
//! for the first time. Nothing that happened is re-judged: what has opened stays open, armed deadlines stay armed (unless new
//! ones are asked for), and what `if`, `count` and `within` gave when a step opened is kept. Where the new version could not
//! go on from where the order stands, the order is refused, with the step that stands in the way, and stays as it is.
//!
//! ```text
//!   old   placed ✓   payment …   gift –           – pending, untouched: may go
//!            │          │
//!   new   placed ✓   fraud ▸    payment …         ▸ new, and what it comes after is done: opens now
//! ```
//!
//! What the new version waits for and the old one did not may have been published before. It is a doubt about the order (rule 8).

use crate::saga::batch::NewDoubt;
use crate::saga::definition::{OrderIdFrom, Pattern, Place, Saga, Selector, Step, StepIx};
use crate::saga::input::Misfit;
use crate::saga::journal::{Kind, Migrated};
use crate::saga::migration::{Armed, DeadlineEffect, Effects, Migration, StepEffect};
use crate::saga::order::{Cause, Circumstances, DoubtKind, Life, Order, Skipped, StepState, StepStatus, TurnPhase};
use crate::saga::time::Moment;

use super::{Machine, Note, Outcome, ResultOf, StoredEvents, turning};

/// What followed from moving one order.
#[derive(Clone, Debug)]
pub struct Migrating {
    pub outcome: Outcome,
    pub doubts: Vec<NewDoubt>,
    pub effects: Effects,
}

/// Moves an order that is on `from` to `to`.
///
/// # Errors
/// The new version cannot go on from where the order stands; nothing follows.
pub fn migrate(
    from: &Saga,
    to: &Saga,
    order: Order,
    stored: &mut StoredEvents,
    migration: &Migration,
    with: &Circumstances<'_>,
) -> Result<Migrating, Misfit> {
    if order.life.status.is_ended() {
        return Err(Misfit(format!("it has ended ({})", order.life.status.word())));
    }
    reads_alike(from, to)?;
    let places = places(from, to, &order)?;
    let before = order.clone();
    let migrated = Migrated { from: from.version, to: to.version, places };
    let mut machine = Machine::new(to, order, stored, with);
    renumber(&mut machine.order.life, &migrated);
    migrated.carry(&mut machine.order);
    machine.steps_before.clone_from(&machine.order.steps);
    machine.migrated = Some(migrated.clone());
    if migration.rearm {
        machine.rearm();
    }
    let note =
        Note { actor: Some(migration.actor.clone()), ..Note::named("migrate").because(migration.reason.clone()) };
    machine.conclude(Kind::Command, note);
    let now = machine.with.now;
    let outcome = machine.finish(ResultOf::Applied);
    let missed = missed(from, to, &outcome.order);
    let effects = effects(from, to, &migrated, &before, &outcome, &missed, now);
    let doubts = missed.into_iter().map(|event| doubt(&before, &migrated, event, now)).collect();
    Ok(Migrating { outcome, doubts, effects })
}

/// Whether both versions tell messages apart in the same way. Else what was applied before would count again when it is
/// delivered once more, and be undone twice.
///
/// # Errors
/// What they read otherwise.
pub fn reads_alike(from: &Saga, to: &Saga) -> Result<(), Misfit> {
    for old in &from.watch {
        let same = |place: &Place| match (&old.place, place) {
            (Place::Exchange { name, .. }, Place::Exchange { name: other, .. }) => name == other,
            (Place::Http, Place::Http) => true,
            (Place::Exchange { .. }, Place::Http) | (Place::Http, Place::Exchange { .. }) => false,
        };
        let place = match &old.place {
            Place::Exchange { name, .. } => format!("exchange {name}"),
            Place::Http => "events over HTTP".to_owned(),
        };
        for new in to.watch.iter().filter(|new| same(&new.place)) {
            let (was, is) = (&old.read, &new.read);
            let by_arrival = |from: &OrderIdFrom| *from == OrderIdFrom::Arrival;
            let differs = if was.preset != is.preset {
                "preset"
            } else if !goes_on(&was.event, &is.event) {
                "event"
            } else if !goes_on(&was.id, &is.id) {
                "id"
            } else if by_arrival(&was.order_id) != by_arrival(&is.order_id) {
                "order_id"
            } else {
                continue;
            };
            return Err(Misfit(format!(
                "versions {} and {} tell the messages of {place} apart in different ways (`read.{differs}`): one that was \
                 applied before would count again",
                from.version, to.version
            )));
        }
    }
    Ok(())
}

/// Whether everything `was` finds, `is` finds as well: further selectors may follow.
fn goes_on(was: &[Selector], is: &[Selector]) -> bool {
    was == is || (!was.is_empty() && is.starts_with(was))
}

/// For each step of the new version, where it was in the old one.
fn places(from: &Saga, to: &Saga, order: &Order) -> Result<Vec<Option<StepIx>>, Misfit> {
    for (ix, (step, state)) in from.steps.iter().zip(&order.steps).enumerate() {
        let why = match to.step_ix(&step.name) {
            None => must_stay(step, ix, state, order).map(|why| (why, "does not have it")),
            Some(new) => cannot_go_on(step, &to.steps[new], state),
        };
        if let Some((is, lacks)) = why {
            let (name, version) = (&step.name, to.version);
            return Err(Misfit(format!("step {name} {is}, and version {version} {lacks}")));
        }
    }
    Ok(to.steps.iter().map(|step| from.step_ix(&step.name)).collect())
}

/// Why a step cannot be left behind; `None` where nothing that matters is known of it.
fn must_stay(step: &Step, ix: StepIx, state: &StepState, order: &Order) -> Option<String> {
    let caused = order.life.turn.as_ref().is_some_and(|turn| turning::step_of(turn.cause) == Some(ix));
    if caused {
        return Some("is why the order turns back".to_owned());
    }
    if order.life.needs.iter().any(|need| need.step == Some(ix)) {
        return Some("needs a person (`skip` it first)".to_owned());
    }
    let has_undo = step.compensation.is_some();
    match state.status {
        StepStatus::Pending if *state == StepState::default() => None,
        StepStatus::Pending => Some("has had an event already".to_owned()),
        StepStatus::Skipped if state.skipped != Some(Skipped::Timeout) || !has_undo => None,
        StepStatus::Done if !has_undo => None,
        StepStatus::Done | StepStatus::Skipped => {
            Some(format!("is {} and has a compensation that may be needed", state.status.word()))
        }
        StepStatus::Waiting
        | StepStatus::Failed
        | StepStatus::TimedOut
        | StepStatus::Compensating
        | StepStatus::Compensated
        | StepStatus::CompensationFailed => Some(format!("is {}", state.status.word())),
    }
}

/// What of a step's past the new version has no continuation for: how it stands, and what is lacking.
fn cannot_go_on(old: &Step, new: &Step, state: &StepState) -> Option<(String, &'static str)> {
    let is = || format!("is {}", state.status.word());
    let has_begun = match state.status {
        StepStatus::Pending => state.undo.dones > 0,
        StepStatus::Waiting | StepStatus::TimedOut | StepStatus::Failed => true,
        StepStatus::Done
        | StepStatus::Skipped
        | StepStatus::Compensating
        | StepStatus::Compensated
        | StepStatus::CompensationFailed => false,
    };
    if has_begun && old.count.is_some() != new.count.is_some() {
        return Some((is(), "counts its events otherwise (`count`)"));
    }
    if has_begun && !state.parts.is_empty() && old.by != new.by {
        return Some((is(), "tells its events apart otherwise (`by`)"));
    }
    let is_on_its_way = state.status == StepStatus::Waiting && state.awaiting.is_some();
    if is_on_its_way && new.retry.is_none() {
        return Some(("has a retry on its way".to_owned(), "has no `retry` for it (ask again in a moment)"));
    }
    let undo = new.compensation.as_ref();
    match state.status {
        StepStatus::Compensating | StepStatus::CompensationFailed if undo.is_none() => {
            Some((is(), "has no compensation for it"))
        }
        StepStatus::Compensating if state.awaiting.is_none() && undo.is_some_and(|undo| undo.done.is_empty()) => {
            Some((is(), "names no `done` of its compensation"))
        }
        // That it was undone is how the order will be said to have ended.
        StepStatus::Compensated
        | StepStatus::Compensating
        | StepStatus::CompensationFailed
        | StepStatus::Pending
        | StepStatus::Waiting
        | StepStatus::Done
        | StepStatus::Failed
        | StepStatus::TimedOut
        | StepStatus::Skipped => None,
    }
}

/// What the order as a whole says about steps, said of their new places. Steps it speaks of are never left behind.
fn renumber(life: &mut Life, migrated: &Migrated) {
    let place = |old: StepIx| migrated.place_of(old).unwrap_or(old);
    for need in &mut life.needs {
        need.step = need.step.map(place);
    }
    if let Some(turn) = &mut life.turn {
        turn.cause = match turn.cause {
            Cause::Failed(step) => Cause::Failed(place(step)),
            Cause::TimedOut(step) => Cause::TimedOut(place(step)),
            Cause::Cancelled => Cause::Cancelled,
            Cause::Command => Cause::Command,
        };
    }
}

impl Machine<'_> {
    /// Steps that wait wait anew. One with a message on its way is armed when the broker's word on that comes.
    fn rearm(&mut self) {
        for step in 0..self.order.steps.len() {
            let state = &self.order.steps[step];
            if state.status != StepStatus::Waiting || state.awaiting.is_some() {
                continue;
            }
            match self.fresh_deadline(step) {
                Ok(deadline) => self.step(step).deadline = deadline,
                Err(error) => self.need(super::StuckReason::TemplateFailed, Some(step), Some(error)),
            }
        }
        if self.order.life.deadline.is_some() {
            let whole = self.order.created_at + self.saga.within;
            self.order.life.deadline = Some(whole.max(self.with.now));
        }
    }
}

/// The events waited for that the old version did not wait for in the same step.
fn missed(from: &Saga, to: &Saga, order: &Order) -> Vec<String> {
    let mut events: Vec<String> = Vec::new();
    for (step, state) in to.steps.iter().zip(&order.steps) {
        let old = from.step_ix(&step.name).map(|ix| &from.steps[ix]);
        let undo = |step: &Step| step.compensation.iter().flat_map(|undo| &undo.done).cloned().collect::<Vec<_>>();
        let (was, is) = match state.status {
            StepStatus::Waiting | StepStatus::TimedOut | StepStatus::Failed => {
                (old.map(|old| old.done.clone()).unwrap_or_default(), step.done.clone())
            }
            StepStatus::Compensating | StepStatus::CompensationFailed => {
                (old.map(undo).unwrap_or_default(), undo(step))
            }
            StepStatus::Pending | StepStatus::Done | StepStatus::Skipped | StepStatus::Compensated => continue,
        };
        let is_new = |pattern: &&Pattern| !was.iter().any(|old| same_pattern(old, pattern));
        for pattern in is.iter().filter(is_new) {
            if !events.contains(&pattern.event) {
                events.push(pattern.event.clone());
            }
        }
    }
    events
}

fn same_pattern(one: &Pattern, other: &Pattern) -> bool {
    let source = |pattern: &Pattern| pattern.condition.as_ref().map(|condition| condition.source().to_owned());
    one.event == other.event && source(one) == source(other)
}

fn doubt(order: &Order, migrated: &Migrated, event: String, now: Moment) -> NewDoubt {
    let Migrated { from, to, places: _ } = migrated;
    NewDoubt {
        kind: DoubtKind::Gap,
        saga: Some(order.key.saga.clone()),
        from: order.created_at,
        to: now,
        detail: format!(
            "moved from version {from} to {to}, which waits for {event}; it may have been published before"
        ),
        event: Some(event),
        order_id: Some(order.key.order_id.clone()),
        quarantined: None,
    }
}

fn effects(
    from: &Saga,
    to: &Saga,
    migrated: &Migrated,
    before: &Order,
    outcome: &Outcome,
    missed: &[String],
    now: Moment,
) -> Effects {
    let after = &outcome.order;
    let old = |ix: StepIx| migrated.places[ix].map(|place| &before.steps[place]);
    let gone = from.steps.iter().zip(&before.steps).filter(|(step, _)| to.step_ix(&step.name).is_none());
    let gone = gone.map(|(step, state)| StepEffect { step: step.name.clone(), from: Some(state.status), to: None });
    let steps = to.steps.iter().zip(&after.steps).enumerate().map(|(ix, (step, state))| StepEffect {
        step: step.name.clone(),
        from: old(ix).map(|state| state.status),
        to: Some(state.status),
    });
    let was = armed(from, before);
    let mut deadlines: Vec<DeadlineEffect> = armed(to, after)
        .into_iter()
        .map(|(what, at)| {
            let before = was.iter().find(|(other, _)| *other == what).map(|(_, at)| *at);
            DeadlineEffect { what, at, before, is_due: at <= now }
        })
        .collect();
    deadlines.sort_by(|one, other| (one.at, &one.what).cmp(&(other.at, &other.what)));
    let asked = outcome.entries.iter().filter(|sealed| sealed.entry.kind == Kind::Compensation);
    let asked = asked.filter(|sealed| !sealed.entry.body.published.is_empty());
    Effects {
        status: (before.life.status != after.life.status).then_some((before.life.status, after.life.status)),
        steps: gone.chain(steps).filter(|effect| effect.from != effect.to).collect(),
        deadlines,
        asks: asked.filter_map(|sealed| sealed.entry.body.name.clone()).collect(),
        missed: missed.to_vec(),
    }
}

fn armed(saga: &Saga, order: &Order) -> Vec<(Armed, Moment)> {
    let turn = order.life.turn.as_ref().and_then(|turn| match turn.phase {
        TurnPhase::Due(at) => Some((Armed::Turn, at)),
        TurnPhase::Withheld | TurnPhase::Turned(_) => None,
    });
    let steps = saga.steps.iter().zip(&order.steps);
    let steps = steps.filter_map(|(step, state)| Some((Armed::Step(step.name.clone()), state.deadline?)));
    steps.chain(turn).chain(order.life.deadline.map(|at| (Armed::Order, at))).collect()
}
