//! Rule 12: undoing, in reverse order of dependency and in rounds.
//!
//! ```text
//!   done ─┐                           ┌─▶ compensated          one round covers every `done` of the step
//!   timed out ├─▶ compensating ───────┤                        seen before it closed
//!   skipped by timeout ┘   ▲          └─▶ compensation_failed ─(person: retry)─┐
//!                          └──────────────────────────────────────────────────┘
//! ```
//!
//! A step waits for the compensations of those after it that are *known* done. One that only may have happened is asked
//! for and tracked, but nothing waits for it: a dead service must not hold the refund back.

use serde_json::{Map, Value};

use crate::faults::{Bug, is_planted};
use crate::saga::definition::{Publish, StepIx};
use crate::saga::input::Event;
use crate::saga::journal::Kind;
use crate::saga::order::{Cause, Skipped, Status, StepStatus, StuckReason, Unproven};
use crate::saga::outgoing::{Content, EXCHANGE, derived_id};

use super::{Machine, Note};

impl Machine<'_> {
    /// Whether there is something of this step left to undo that no round has been asked for.
    pub(super) fn undoable(&self, step: StepIx) -> bool {
        let state = &self.order.steps[step];
        if self.saga.steps[step].compensation.is_none() || state.undo.ignored {
            return false;
        }
        match state.status {
            // A counted step may be done with nothing counted: there is nothing to undo then.
            StepStatus::Done => state.undo.dones > state.undo.covered,
            StepStatus::TimedOut => true,
            StepStatus::Skipped => state.skipped == Some(Skipped::Timeout),
            StepStatus::Pending
            | StepStatus::Waiting
            | StepStatus::Failed
            | StepStatus::Compensating
            | StepStatus::Compensated
            | StepStatus::CompensationFailed => false,
        }
    }

    /// A later step that is known done and not undone yet.
    fn is_blocked(&self, step: StepIx) -> bool {
        if is_planted(Bug::CompensationsTogether) {
            return false;
        }
        self.saga.descendants(step).into_iter().any(|later| {
            let state = &self.order.steps[later];
            let known = state.undo.dones > 0;
            let under_way = matches!(state.status, StepStatus::Compensating | StepStatus::CompensationFailed);
            known && (under_way || self.undoable(later))
        })
    }

    fn next_to_ask(&self) -> Option<StepIx> {
        // A later step of the file first: the trail then reads in the order of undoing.
        (0..self.order.steps.len()).rev().find(|&step| {
            self.undoable(step) && !self.is_blocked(step) && !self.has_need(StuckReason::TemplateFailed, Some(step))
        })
    }

    /// Closes what was undone in advance, and ends the order when nothing waits and nothing is left to undo (rule 11).
    pub(super) fn settle_undoing(&mut self) {
        for step in 0..self.order.steps.len() {
            let state = &self.order.steps[step];
            let undone_already = state.status == StepStatus::Done
                && state.undo.covered > 0
                && state.undo.covered == state.undo.dones
                && !state.undo.ignored;
            if undone_already && self.saga.steps[step].compensation.is_some() {
                self.step(step).status = StepStatus::Compensated;
            }
        }
        if self.order.life.status.is_ended() {
            return;
        }
        let unfinished = self.order.steps.iter().enumerate().any(|(step, state)| {
            self.undoable(step)
                || matches!(
                    state.status,
                    StepStatus::Waiting | StepStatus::Compensating | StepStatus::CompensationFailed
                )
        });
        if unfinished {
            return;
        }
        let cancelled = self.order.life.turn.as_ref().is_some_and(|turn| turn.cause == Cause::Cancelled);
        let undone = self.order.steps.iter().any(|step| step.status == StepStatus::Compensated);
        let status = match (undone, cancelled) {
            (true, _) => Status::Compensated,
            (false, true) => Status::Cancelled,
            (false, false) => Status::Failed,
        };
        self.end(status);
    }

    /// Asks for every compensation whose turn it is, each with an entry of its own. In doubt, or in mode `observe`, the order
    /// is stuck instead.
    pub(super) fn ask_compensations(&mut self) {
        if !self.order.has_turned() || self.order.life.status.is_ended() {
            return;
        }
        while let Some(step) = self.next_to_ask() {
            if self.holds_back(step) {
                return;
            }
            let reason = self.ask(step).err();
            let name = self.compensation_event(step);
            if let Some(error) = &reason {
                self.need(StuckReason::TemplateFailed, Some(step), Some(error.clone()));
            }
            self.settle();
            self.record(Kind::Compensation, Note { reason, ..Note::named(name).about(step) });
        }
    }

    /// Rules 8 and 9 also hold for an order that is already on its way back. What was withheld in mode `observe` stays so until a
    /// person releases it, also when the mode changes meanwhile.
    fn holds_back(&mut self, step: StepIx) -> bool {
        if self.has_need(StuckReason::Observe, None) {
            return true;
        }
        let unproven = self.doubts_about_undoing();
        let (reason, kind, note) = if self.observes() {
            let would_send = self.compensations_to_ask();
            (StuckReason::Observe, Kind::WouldSend, Note { would_send, ..Note::default() })
        } else if unproven.is_empty() {
            return false;
        } else {
            (StuckReason::Unproven, Kind::Deadline, Note { unproven, ..Note::named("compensations_held_back") })
        };
        if !self.has_need(reason, None) {
            self.need(reason, None, None);
            self.record(kind, note.about(step));
        }
        true
    }

    /// What keeps this order from asking for compensations, unless a person answered for it.
    fn doubts_about_undoing(&self) -> Vec<Unproven> {
        let vouched = self.order.life.turn.as_ref().is_some_and(|turn| turn.vouched);
        if vouched { Vec::new() } else { self.unproven() }
    }

    /// Begins the next round: renders and sends, or only watches where the services undo by themselves.
    fn ask(&mut self, step: StepIx) -> Result<(), String> {
        let before = self.order.steps[step].undo.clone();
        let undo = &mut self.step(step).undo;
        undo.round += 1;
        undo.attempts = 0;
        undo.confirmed_at = None;
        self.send_round(step).inspect_err(|_| self.step(step).undo = before)
    }

    /// Sends the open round again, under the same message id.
    pub(super) fn ask_again(&mut self, step: StepIx) -> Result<(), String> {
        self.send_round(step)
    }

    fn send_round(&mut self, step: StepIx) -> Result<(), String> {
        let Some(undo) = self.saga.steps[step].compensation.as_ref() else { return Ok(()) };
        let unsent = self.order.steps[step].undo.attempts;
        // The templates see which sending it is.
        self.step(step).undo.attempts += 1;
        let sent = undo.publish.as_ref().map(|publish| self.send_compensation(step, publish)).transpose();
        let key = match sent {
            Ok(key) => key,
            Err(error) => {
                self.step(step).undo.attempts = unsent;
                return Err(error);
            }
        };
        let deadline = self.with.now + undo.patience();
        let state = self.step(step);
        state.status = StepStatus::Compensating;
        state.awaiting = key;
        state.deadline = if key.is_some() { None } else { Some(deadline) };
        Ok(())
    }

    fn send_compensation(&mut self, step: StepIx, publish: &Publish) -> Result<uuid::Uuid, String> {
        let key = &self.order.key;
        let name = &self.saga.steps[step].name;
        let undo = &self.order.steps[step].undo;
        let round =
            if is_planted(Bug::CompensationRenamed) { undo.round + undo.attempts } else { undo.round }.to_string();
        let id = derived_id(&[&key.saga, &key.order_id, name, "compensation", &round]).to_string();
        let content = self.compensation_content(step, publish, &id)?;
        Ok(self.send(id, content))
    }

    fn compensation_content(&self, step: StepIx, publish: &Publish, id: &str) -> Result<Content, String> {
        let scope = self.scope(step);
        let render_all = |templates: &[(String, crate::saga::expression::Template)]| {
            templates
                .iter()
                .map(|(name, template)| Ok((name.clone(), template.render(&scope)?)))
                .collect::<Result<Map<String, Value>, String>>()
        };
        let routing_key = match (&publish.routing_key, &publish.exchange) {
            (Some(template), _) => template.render_text(&scope)?,
            (None, Some(_)) => String::new(),
            (None, None) => format!("{}.{}.compensate", self.saga.name, self.saga.steps[step].name),
        };
        let body = match &publish.body {
            Some(template) => template.render(&scope)?,
            None => self.cloud_event(id, &publish.event, Some(step)),
        };
        let mut properties = render_all(&publish.properties)?;
        properties.entry("type").or_insert_with(|| publish.event.clone().into());
        Ok(Content::Compensation {
            exchange: publish.exchange.clone().unwrap_or_else(|| EXCHANGE.to_owned()),
            routing_key,
            headers: render_all(&publish.headers)?,
            properties,
            body,
        })
    }

    /// The event a compensation publishes, or the step's name where the services undo by themselves.
    pub(super) fn compensation_event(&self, step: StepIx) -> String {
        let publish = self.saga.steps[step].compensation.as_ref().and_then(|undo| undo.publish.as_ref());
        publish.map_or_else(|| self.saga.steps[step].name.clone(), |publish| publish.event.clone())
    }

    /// What would be asked for, in words, for mode `observe`.
    pub(super) fn compensations_to_ask(&self) -> Vec<String> {
        let steps = (0..self.order.steps.len()).rev().filter(|&step| self.undoable(step));
        steps.map(|step| format!("{} for {}", self.compensation_event(step), self.saga.steps[step].name)).collect()
    }

    /// The compensation's own `done` event.
    pub(super) fn compensation_done(&mut self, step: StepIx) -> Kind {
        let state = &self.order.steps[step];
        match state.status {
            StepStatus::Compensating => {
                self.close_round(step);
                Kind::Event
            }
            StepStatus::CompensationFailed => {
                self.close_round(step);
                Kind::Late
            }
            StepStatus::Compensated => Kind::Repeated,
            // None open: it counts if the step's own `done` was seen, for the round that would be asked next.
            StepStatus::Done if state.undo.dones > state.undo.covered => {
                self.step(step).undo.covered = self.order.steps[step].undo.dones;
                Kind::Event
            }
            StepStatus::Done if state.undo.dones > 0 => Kind::Repeated,
            StepStatus::Done
            | StepStatus::Pending
            | StepStatus::Waiting
            | StepStatus::Failed
            | StepStatus::TimedOut
            | StepStatus::Skipped => Kind::Late,
        }
    }

    pub(super) fn close_round(&mut self, step: StepIx) {
        let state = self.step(step);
        state.status = StepStatus::Compensated;
        state.undo.covered = state.undo.dones;
        state.deadline = None;
        state.awaiting = None;
        self.resolve(step);
    }

    /// The compensation's own `failed` event.
    pub(super) fn compensation_refused(&mut self, step: StepIx, event: &Event) -> Kind {
        match self.status_of(step) {
            StepStatus::Compensating => {
                self.compensation_fails(step, StuckReason::CompensationFailed, Some(event.name.clone()));
                Kind::Event
            }
            StepStatus::CompensationFailed => Kind::Repeated,
            StepStatus::Pending
            | StepStatus::Waiting
            | StepStatus::Done
            | StepStatus::Failed
            | StepStatus::TimedOut
            | StepStatus::Skipped
            | StepStatus::Compensated => Kind::Late,
        }
    }

    pub(super) fn compensation_fails(&mut self, step: StepIx, reason: StuckReason, detail: Option<String>) {
        let state = self.step(step);
        state.status = StepStatus::CompensationFailed;
        state.deadline = None;
        state.awaiting = None;
        self.resolve(step);
        self.need(reason, Some(step), detail);
    }

    /// A compensation did not report back: sent again if the definition says so, else a person is needed.
    pub(super) fn compensation_overdue(&mut self, step: StepIx) {
        let undo = self.saga.steps[step].compensation.as_ref();
        let attempts = self.order.steps[step].undo.attempts;
        let again = undo.is_some_and(|undo| {
            undo.publish.is_some() && undo.retry.as_ref().is_some_and(|cadence| attempts <= cadence.times)
        });
        let note = Note::named(self.compensation_event(step)).about(step);
        let unproven = if again { self.doubts_about_undoing() } else { Vec::new() };
        if again && self.observes() {
            self.would_send = vec![format!("{} for {}", self.compensation_event(step), self.saga.steps[step].name)];
        } else if again && unproven.is_empty() {
            return match self.ask_again(step) {
                Ok(()) => self.conclude(Kind::Compensation, note.because("sent again")),
                Err(error) => {
                    self.compensation_fails(step, StuckReason::TemplateFailed, Some(error));
                    self.conclude(Kind::Deadline, note);
                }
            };
        }
        self.compensation_fails(step, StuckReason::CompensationOverdue, None);
        self.conclude(Kind::Deadline, Note { unproven, ..note });
    }

    /// An ended order has something to undo after all.
    pub(super) fn reopen_for_undoing(&mut self) {
        self.order.life.ended_at = None;
        self.order.life.status = Status::Compensating;
    }
}
