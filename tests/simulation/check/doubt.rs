//! Rules 8, 9 and 14: no unproven order acts but by a person's command, `observe` asks nothing, and the brake holds.

use std::collections::BTreeMap;

use escrow::saga::batch::NewDoubt;
use escrow::saga::definition::{Mode, Saga};
use escrow::saga::journal::Kind;
use escrow::saga::order::{Cause, DoubtKind, OrderKey, Skipped, StepState, StepStatus, StuckReason, TurnPhase};
use escrow::saga::outgoing::Content;
use escrow::saga::time::Moment;

use super::{Commit, Judge, Promise, Turned};
use crate::definitions::LINE;
use crate::model::Model;

/// What was recorded as doubtful.
#[derive(Default)]
pub struct Doubts {
    known: Vec<(NewDoubt, Moment)>,
    /// Quarantined messages that were dealt with.
    resolved: u64,
}

impl Doubts {
    pub fn record(&mut self, doubts: &[NewDoubt], at: Moment) {
        self.known.extend(doubts.iter().map(|doubt| (doubt.clone(), at)));
    }

    /// Whether a gap is known that reaches to a loss. Before the first watermark nothing says where it begins.
    pub fn reach(&self, lost_at: Moment) -> bool {
        self.known.iter().any(|(it, _)| it.kind == DoubtKind::Gap && lost_at <= it.to)
    }

    pub fn gaps(&self) -> usize {
        self.known.iter().filter(|(it, _)| it.kind == DoubtKind::Gap).count()
    }
}

/// Orders turned back by timeout.
#[derive(Default)]
pub struct Brakes {
    turned: BTreeMap<String, Vec<Moment>>,
    held: BTreeMap<String, Moment>,
}

impl Judge {
    /// A resolved message takes its doubt with it; which one is not said, so all of the kind count as gone.
    pub(super) fn doubts_resolved(&mut self, commit: &Commit<'_>) {
        if !commit.changes.resolved.is_empty() {
            self.doubts.resolved += commit.changes.resolved.len() as u64;
            self.doubts.known.retain(|(doubt, _)| doubt.kind != DoubtKind::Quarantine);
        }
    }

    pub(super) fn entry_in_doubt(&mut self, model: &Model, commit: &Commit<'_>, turned: &Turned<'_>) {
        for reason in &turned.entry.body.unproven {
            *self.held_back.entry(format!("{reason:?}").to_lowercase()).or_default() += 1;
        }
        if turned.entry.body.name.as_deref() == Some("doubt_gone") {
            self.doubts_gone += 1;
            let reasons = self.reasons(turned);
            if !reasons.is_empty() {
                let what = format!("{} goes on, and is still in doubt: {}", turned.key, reasons.join(", "));
                self.complain(Promise::Unproven, what);
            }
        }
        let sequence = turned.entry.sequence;
        let asks: Vec<_> = commit
            .changes
            .outbox
            .iter()
            .filter(|row| row.order == *turned.key && row.sequence == sequence && row.content.asks())
            .collect();
        if asks.is_empty() {
            return;
        }
        let mode = commit.loaded.modes.get(&turned.key.saga).copied().unwrap_or(turned.saga.mode);
        if mode == Mode::Observe {
            self.complain(Promise::Observe, format!("{} asks something of a service in mode observe", turned.key));
        }
        let vouched = turned.life.turn.as_ref().is_some_and(|turn| turn.vouched);
        if turned.entry.kind == Kind::Command || vouched {
            return;
        }
        let reasons = self.reasons(turned);
        if !reasons.is_empty() {
            let what =
                format!("{} acts by itself (entry {sequence}), and is in doubt: {}", turned.key, reasons.join(", "));
            self.complain(Promise::Unproven, what);
        }
        if turned.key.saga == LINE {
            return;
        }
        for row in asks {
            if let Content::Retry { .. } = row.content {
                self.acted_on_loss(model, turned, turned.entry.body.step);
            }
        }
        if let Some(Cause::TimedOut(step)) = turned.life.turn.as_ref().map(|turn| turn.cause) {
            self.acted_on_loss(model, turned, Some(step));
        }
    }

    /// The answer had been published, and was lost on the way: whatever Escrow knows, it must know that it does not know.
    fn acted_on_loss(&mut self, model: &Model, turned: &Turned<'_>, step: Option<usize>) {
        let Some(step) = step else { return };
        // What was published after the deadline would not have counted.
        let Some(deadline) = self.clocks.missed.get(&(turned.key.clone(), step)).copied() else { return };
        let lost = model.lost_answers(&turned.key.order_id, &turned.saga.awaited(step), deadline);
        let Some(uid) = lost.first() else { return };
        let message = &model.messages[*uid];
        let what = format!(
            "{} acts on a missing {} that was published and lost (message {uid}, lost {} ms before)",
            turned.key,
            message.event,
            (turned.entry.at.0 - message.lost_at.map_or(0, |at| at.0)) / 1000
        );
        self.complain(Promise::Unproven, what);
    }

    /// Why the order is in doubt, by what the judge itself knows.
    fn reasons(&self, turned: &Turned<'_>) -> Vec<&'static str> {
        let (saga, steps, life) = (turned.saga, turned.steps_before, turned.life_before);
        let mut reasons = Vec::new();
        let began = (0..steps.len()).filter(|step| saga.is_root(*step)).any(|step| {
            steps[step].status == StepStatus::Done
                || turned.steps[step].undo.dones > 0
                || turned.steps[step].status == StepStatus::Done
                || steps[step].skipped == Some(Skipped::Person)
        });
        if !began {
            reasons.push("beginning");
        }
        for (doubt, _) in &self.doubts.known {
            if concerns(doubt, turned) {
                reasons.push(if doubt.kind == DoubtKind::Gap { "gap" } else { "quarantine" });
            }
        }
        if life.inferred {
            reasons.push("inferred");
        }
        if life.reopened {
            reasons.push("completed");
        }
        let overdue = (0..steps.len()).filter(|step| {
            steps[*step].status == StepStatus::TimedOut && turned.steps[*step].status == StepStatus::TimedOut
        });
        let seen = |step: usize| saga.descendants(step).into_iter().any(|later| steps[later].undo.dones > 0);
        if overdue.into_iter().any(seen) {
            reasons.push("evidence");
        }
        reasons
    }

    pub(super) fn entry_under_the_brake(&mut self, turned: &Turned<'_>) {
        let Some(limit) = turned.saga.brake else { return };
        let saga = turned.key.saga.clone();
        let is_turned = |turn: &escrow::saga::order::Turn| matches!(turn.phase, TurnPhase::Turned(_));
        let was = turned.life_before.turn.as_ref().is_some_and(is_turned);
        let now = turned.life.turn.as_ref().filter(|turn| is_turned(turn) && !was);
        let by_timeout = now.is_some_and(|turn| matches!(turn.cause, Cause::TimedOut(_)) && !turn.vouched);
        if by_timeout && turned.entry.kind != Kind::Command {
            let at = turned.entry.at;
            let all = self.brakes.turned.entry(saga.clone()).or_default();
            all.push(at);
            let recent = all.iter().filter(|before| **before + limit.per >= at).count();
            if recent > limit.orders as usize {
                let what = format!(
                    "{recent} orders of {saga} turned back by timeout within {}; the brake is {}",
                    limit.per, limit.orders
                );
                self.complain(Promise::Brake, what);
            }
            // Within one commit the entries are not in the order they were decided in.
            if self.brakes.held.get(&saga).is_some_and(|since| *since < at) {
                self.complain(
                    Promise::Brake,
                    format!("{} turned back by timeout, and the brake of its saga holds", turned.key),
                );
            }
        }
        let holds = |life: &escrow::saga::order::Life| life.needs.iter().any(|need| need.reason == StuckReason::Held);
        if holds(turned.life) && !holds(turned.life_before) {
            self.brakes.held.entry(saga).or_insert(turned.entry.at);
        }
    }
}

fn concerns(doubt: &NewDoubt, turned: &Turned<'_>) -> bool {
    let OrderKey { saga, order_id } = turned.key;
    if doubt.saga.as_ref().is_some_and(|name| name != saga) {
        return false;
    }
    if let Some(about) = &doubt.order_id {
        return about == order_id;
    }
    let was_open = turned.created_at <= doubt.to && turned.life_before.ended_at.is_none_or(|ended| ended >= doubt.from);
    was_open && doubt.event.as_ref().is_none_or(|event| awaits(turned.saga, turned.steps_before, event))
}

fn awaits(saga: &Saga, steps: &[StepState], event: &str) -> bool {
    steps.iter().enumerate().any(|(step, state)| match state.status {
        StepStatus::Pending | StepStatus::Waiting | StepStatus::TimedOut | StepStatus::Failed => {
            saga.awaited(step).iter().any(|name| name == event)
        }
        StepStatus::Compensating | StepStatus::CompensationFailed => {
            saga.awaited_compensation(step).iter().any(|name| name == event)
        }
        StepStatus::Done | StepStatus::Skipped | StepStatus::Compensated => false,
    })
}
