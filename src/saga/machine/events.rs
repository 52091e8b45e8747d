//! Rules 1, 2, 4 and 13: what an event means to each step it names.
//!
//! An event applies to every step that names it, in definition order, before anything opens. So any permutation of the
//! events seen before a decision ends in the same steps: what comes too early closes its step at once or is kept, `done`
//! beats `failed`, and what comes after a decision is late.

use crate::faults::{Bug, is_planted};
use crate::saga::definition::{Late, OnFailure, Role, StepIx, Telling};
use crate::saga::input::Event;
use crate::saga::journal::{AttributeChange, Kind, attribute_hash};
use crate::saga::order::{Attribute, Cause, Sighting, Status, StepState, StepStatus, StuckReason, rank};
use crate::saga::time::Span;

use super::{Machine, Note, ResultOf};

/// A duration counts in the statistics only if the tap was read within this time at both ends.
const LIVE_LAG_MAX: Span = Span::from_secs(1);

impl Machine<'_> {
    pub(super) fn event(&mut self, event: &Event) -> ResultOf {
        let seen = event.identity.is_some_and(|identity| self.order.seen.contains(&identity));
        let drops_late = is_planted(Bug::LateDropped) && self.order.life.status.is_ended();
        if (seen && !is_planted(Bug::IdentityForgotten)) || drops_late {
            self.order.duplicates += 1;
            return ResultOf::Duplicate;
        }
        self.live = event.lag.is_some_and(|lag| lag < LIVE_LAG_MAX);
        if self.order.sequence == 0 {
            self.order.life.deadline = Some(self.with.now + self.saga.within);
        }
        self.order.seen.extend(event.identity);
        if let Some(view) = &event.view {
            let seen = serde_json::json!({"body": **view, "headers": event.payload.envelope_value()["headers"]});
            self.stored.insert(self.order.sequence + 1, seen);
        }
        let kinds: Vec<Kind> = if self.order.life.status == Status::Closed {
            vec![Kind::Late]
        } else {
            self.order.life.inferred |= event.inferred;
            self.keep_attributes(event);
            event.roles.iter().map(|role| self.role(*role, event)).collect()
        };
        let kind = overall(&kinds);
        let mut note = Note { name: Some(event.name.clone()), event: Some(event), ..Note::default() };
        match (kind, self.winner_over(event)) {
            (Kind::Conflict, winner) => note.reason = winner.as_deref().map(lost_against),
            (_, Some(winner)) if kinds.contains(&Kind::Conflict) => self.lost.push((event.name.clone(), winner)),
            (_, _) => {}
        }
        self.conclude(kind, note);
        if kind == Kind::Late { ResultOf::Late } else { ResultOf::Applied }
    }

    fn role(&mut self, role: Role, event: &Event) -> Kind {
        match role {
            Role::Done(step) => self.done(step, event),
            Role::Failed(step) => self.failed(step, event),
            Role::When(step) => self.triggered(step, event),
            Role::CompensationDone(step) => self.compensation_done(step),
            Role::CompensationFailed(step) => self.compensation_refused(step, event),
            Role::Cancel => self.cancelled(event),
        }
    }

    pub(super) fn sighting(&self, event: &Event) -> Sighting {
        Sighting { sequence: self.sequence(), name: event.name.clone(), at: self.with.now }
    }

    /// The `done` event that `event` lost against, where it says that a step failed.
    fn winner_over(&self, event: &Event) -> Option<String> {
        event.roles.iter().find_map(|role| match role {
            Role::Failed(step) if self.status_of(*step) == StepStatus::Done => {
                Some(self.order.steps[*step].event.as_ref()?.name.clone())
            }
            Role::Failed(_)
            | Role::Done(_)
            | Role::When(_)
            | Role::CompensationDone(_)
            | Role::CompensationFailed(_)
            | Role::Cancel => None,
        })
    }

    /// Attributes come from the root step's event, else from the first step of the file that has them.
    fn keep_attributes(&mut self, event: &Event) {
        let ranks = event.roles.iter().filter_map(|role| match role {
            Role::Done(step) if self.saga.is_root(*step) => Some(0),
            Role::Done(step) => Some(rank::of_step(*step)),
            Role::Failed(_)
            | Role::When(_)
            | Role::CompensationDone(_)
            | Role::CompensationFailed(_)
            | Role::Cancel => None,
        });
        let Some(rank) = ranks.min() else { return };
        for (name, value) in &event.attributes {
            if self.order.attributes.get(name).is_some_and(|known| known.rank <= rank) {
                continue;
            }
            let hash = attribute_hash(&event.payload.salt, name, value);
            self.attributes.push(AttributeChange { name: name.clone(), rank, hash });
            let attribute = Attribute { value: value.clone(), sequence: self.sequence(), rank };
            self.order.attributes.insert(name.clone(), attribute);
            self.attributes_changed = true;
        }
    }

    /// A `done` event.
    fn done(&mut self, step: StepIx, event: &Event) -> Kind {
        let counted = self.saga.steps[step].count.is_some();
        if counted && !self.count_part(step, event) {
            return Kind::Repeated;
        }
        let status = self.status_of(step);
        self.step(step).undo.dones += 1;
        if !counted && status == StepStatus::Done {
            // Charged twice? A round must undo it too (rules 2, 12).
            return Kind::Repeated;
        }
        if self.order.has_turned() {
            return self.done_after_turning(step, event);
        }
        if counted && !self.count_is_full(step) {
            // Rule 13 for a part: it is kept, and may still complete the step.
            return match status {
                StepStatus::Pending | StepStatus::Waiting => Kind::Event,
                StepStatus::Done => Kind::Repeated,
                StepStatus::Failed
                | StepStatus::TimedOut
                | StepStatus::Skipped
                | StepStatus::Compensating
                | StepStatus::Compensated
                | StepStatus::CompensationFailed => Kind::Late,
            };
        }
        match status {
            StepStatus::Pending => {
                // A root opens with the order: being closed by its first event is not early.
                let early = !(self.saga.is_root(step) && self.order.sequence == 0);
                let failure = self.order.steps[step].failure.take();
                self.close_done(step, event);
                self.step(step).early = early;
                self.lost.extend(failure.map(|failure| (failure.name, event.name.clone())));
                Kind::Event
            }
            StepStatus::Waiting => {
                self.close_done(step, event);
                Kind::Event
            }
            StepStatus::Failed | StepStatus::TimedOut => self.recovered(step, event),
            StepStatus::Skipped => {
                self.close_done(step, event);
                self.step(step).late = true;
                self.step(step).live = false;
                Kind::Late
            }
            StepStatus::Done | StepStatus::Compensating | StepStatus::Compensated | StepStatus::CompensationFailed => {
                Kind::Repeated
            }
        }
    }

    fn close_done(&mut self, step: StepIx, event: &Event) {
        let (sighting, live, now) = (self.sighting(event), self.live, self.with.now);
        let state = self.step(step);
        state.status = StepStatus::Done;
        state.opened_at.get_or_insert(now);
        state.closed_at = Some(now);
        state.deadline = None;
        state.awaiting = None;
        state.event = Some(sighting);
        state.inferred = event.inferred;
        state.withheld = false;
        state.live &= live && state.attempts == 0 && !event.inferred;
        state.failure = None;
        state.late = false;
        state.skipped = None;
        self.resolve(step);
    }

    /// Rule 13: the step had been given up and waits for a person, or its failure is not decided yet.
    fn recovered(&mut self, step: StepIx, event: &Event) -> Kind {
        let failure = self.order.steps[step].failure.take();
        let undecided = self.is_undecided_failure(step);
        let given_up = self.order.steps[step].late || !undecided;
        self.close_done(step, event);
        self.withdraw_turn(step);
        if undecided {
            self.lost.extend(failure.map(|failure| (failure.name, event.name.clone())));
        }
        if !given_up {
            return Kind::Event;
        }
        self.step(step).late = true;
        self.step(step).live = false;
        self.tell(Telling::Recovered, Some(step));
        Kind::Late
    }

    /// Rules 11 and 13: the order is on its way back, or came to its end that way.
    fn done_after_turning(&mut self, step: StepIx, event: &Event) -> Kind {
        let ignores = self.saga.steps[step].late == Late::Ignore;
        let before = self.status_of(step);
        let was_waiting = before == StepStatus::Waiting;
        let known_before = self.order.steps[step].undo.dones > 1;
        match before {
            StepStatus::Waiting if self.saga.steps[step].count.is_some() && !self.count_is_full(step) => {
                return Kind::Event;
            }
            StepStatus::Pending
            | StepStatus::Waiting
            | StepStatus::Failed
            | StepStatus::TimedOut
            | StepStatus::Skipped => {
                self.close_done(step, event);
                self.step(step).late = !was_waiting;
                self.step(step).undo.ignored = ignores;
            }
            StepStatus::Compensated => {
                let known = self.sighting(event);
                let state = self.step(step);
                state.late = true;
                state.event = Some(known);
                if ignores {
                    state.undo.covered = state.undo.dones;
                } else {
                    state.status = StepStatus::Done;
                }
            }
            // The open round covers it, and the step is now known to have happened.
            StepStatus::Compensating | StepStatus::CompensationFailed => {
                let known = self.sighting(event);
                let state = self.step(step);
                state.late |= !known_before;
                state.event.get_or_insert(known);
            }
            StepStatus::Done => {}
        }
        if self.order.life.status.is_ended() && self.undoable(step) {
            self.reopen_for_undoing();
        }
        match before {
            StepStatus::Waiting => Kind::Event,
            StepStatus::Done | StepStatus::Compensating | StepStatus::CompensationFailed if known_before => {
                Kind::Repeated
            }
            StepStatus::Pending
            | StepStatus::Done
            | StepStatus::Failed
            | StepStatus::TimedOut
            | StepStatus::Skipped
            | StepStatus::Compensating
            | StepStatus::Compensated
            | StepStatus::CompensationFailed => Kind::Late,
        }
    }

    /// A `failed` event.
    fn failed(&mut self, step: StepIx, event: &Event) -> Kind {
        let sighting = self.sighting(event);
        let turned = self.order.has_turned();
        let ended = self.order.life.status.is_ended();
        match self.status_of(step) {
            StepStatus::Done => Kind::Conflict,
            // Also on a completed order: its trigger may still come and open the step.
            StepStatus::Pending if !turned => {
                if self.order.steps[step].failure.is_some() {
                    return Kind::Repeated;
                }
                self.step(step).failure = Some(sighting);
                Kind::Event
            }
            StepStatus::Waiting if !ended => {
                self.fail(step, sighting);
                Kind::Event
            }
            StepStatus::TimedOut if !turned && !ended => {
                self.fail(step, sighting);
                // Its timeout was decided and told, so whatever closes it now is late.
                self.step(step).late = true;
                Kind::Event
            }
            StepStatus::Failed => Kind::Repeated,
            StepStatus::Pending
            | StepStatus::Waiting
            | StepStatus::TimedOut
            | StepStatus::Skipped
            | StepStatus::Compensating
            | StepStatus::Compensated
            | StepStatus::CompensationFailed => Kind::Late,
        }
    }

    /// A failure that speaks for turning back, and about which nothing is decided yet.
    fn is_undecided_failure(&self, step: StepIx) -> bool {
        self.status_of(step) == StepStatus::Failed
            && self.saga.steps[step].on_failure == OnFailure::Compensate
            && !self.order.life.needs.iter().any(|need| need.step == Some(step))
            && !self.order.life.status.is_ended()
    }

    /// The step's own service says that it did not happen.
    pub(super) fn fail(&mut self, step: StepIx, failure: Sighting) {
        let turned = self.order.has_turned();
        let on_failure = self.saga.steps[step].on_failure;
        self.step(step).failure = Some(failure);
        if on_failure == OnFailure::Wait && !turned {
            return;
        }
        let now = self.with.now;
        let state = self.step(step);
        state.status = StepStatus::Failed;
        state.closed_at = Some(now);
        state.deadline = None;
        state.awaiting = None;
        state.withheld = false;
        self.resolve(step);
        if turned {
            return;
        }
        self.withdraw_turn(step);
        match on_failure {
            OnFailure::Compensate => self.request_turn(Cause::Failed(step)),
            OnFailure::Alert => self.need(StuckReason::Failed, Some(step), None),
            OnFailure::Wait => {}
        }
    }

    /// Rule 3: the trigger of a conditional step.
    fn triggered(&mut self, step: StepIx, event: &Event) -> Kind {
        if self.order.steps[step].trigger.is_some() {
            return Kind::Repeated;
        }
        let ended = self.order.life.status.is_ended();
        if self.order.has_turned() || (ended && self.order.life.status != Status::Completed) {
            return Kind::Late;
        }
        let sighting = self.sighting(event);
        self.step(step).trigger = Some(sighting);
        if self.status_of(step) != StepStatus::Pending {
            return Kind::Event;
        }
        if ended {
            self.run_again();
        }
        for dependent in 0..self.saga.steps.len() {
            if self.saga.steps[dependent].after.contains(&step) {
                self.send_back(dependent);
            }
        }
        Kind::Event
    }

    /// A step that waits, or failed with nothing decided, is pending again: as if the trigger had come before it opened.
    fn send_back(&mut self, step: StepIx) {
        let alerts = self.status_of(step) == StepStatus::Failed && self.has_need(StuckReason::Failed, Some(step));
        if !(self.status_of(step) == StepStatus::Waiting || self.is_undecided_failure(step) || alerts) {
            return;
        }
        let before = self.order.steps[step].clone();
        *self.step(step) = StepState {
            failure: before.failure,
            trigger: before.trigger,
            event: before.event,
            parts: before.parts,
            undo: before.undo,
            ..StepState::default()
        };
        self.resolve(step);
        self.withdraw_turn(step);
    }

    fn run_again(&mut self) {
        let life = &mut self.order.life;
        life.status = Status::Running;
        life.ended_at = None;
        life.reopened = true;
        life.deadline = Some(self.with.now + self.saga.within);
    }

    /// `cancelled_by`.
    fn cancelled(&mut self, event: &Event) -> Kind {
        if self.order.has_turned() || self.order.life.status.is_ended() || self.order.life.cancelled.is_some() {
            return Kind::Late;
        }
        self.order.life.cancelled = Some(self.sighting(event));
        self.request_turn(Cause::Cancelled);
        Kind::Event
    }

    /// Keeps the part of a counted step; `false` if it was counted before.
    fn count_part(&mut self, step: StepIx, event: &Event) -> bool {
        let sequence = self.sequence();
        let part = event.parts.get(&step).cloned().unwrap_or_else(|| format!("#{sequence}"));
        if self.order.steps[step].parts.contains_key(&part) {
            return false;
        }
        let sighting = self.sighting(event);
        let state = self.step(step);
        state.parts.insert(part, sequence);
        state.event = Some(sighting);
        true
    }

    pub(super) fn count_is_full(&self, step: StepIx) -> bool {
        let state = &self.order.steps[step];
        state.expected.is_some_and(|expected| state.parts.len() as u64 >= expected)
    }
}

pub(super) fn lost_against(winner: &str) -> String {
    format!("lost against {winner}")
}

/// One entry for all steps the event names: whatever changed something wins.
fn overall(kinds: &[Kind]) -> Kind {
    [Kind::Event, Kind::Late, Kind::Conflict].into_iter().find(|kind| kinds.contains(kind)).unwrap_or(Kind::Repeated)
}
