//! Not early, not falsely: what fires was due by the definition's own arithmetic, and everything published before was known.

use std::collections::BTreeMap;

use escrow::saga::definition::Within;
use escrow::saga::journal::Kind;
use escrow::saga::order::{Cause, Life, OrderKey, StepStatus, TurnPhase};
use escrow::saga::time::Moment;

use super::{Judge, Promise, Turned};
use crate::definitions::LINE;
use crate::model::Model;

/// Something was asked of a service, and the broker has not given its word.
const UNSENT: Moment = Moment(i64::MAX);

/// When each step is due, worked out from the trail and the definition.
#[derive(Default)]
pub struct Clocks {
    /// `None`: a person, or a doubt that went, moved it; nothing is known then.
    due: BTreeMap<(OrderKey, usize), Option<Moment>>,
    turn: BTreeMap<OrderKey, Moment>,
    /// The deadline each step last missed.
    pub missed: BTreeMap<(OrderKey, usize), Moment>,
    pub fired: u64,
}

impl Judge {
    pub(super) fn entry_in_time(&mut self, model: &Model, turned: &Turned<'_>) {
        self.step_fires(model, turned);
        self.turn_fires(model, turned);
        for step in 0..turned.steps.len() {
            self.rewind(turned, step);
        }
        // A cancellation that joins a failure is decided with it, at the failure's moment.
        let phase = |life: &Life| life.turn.as_ref().map(|turn| turn.phase);
        let is_due = matches!(phase(turned.life), Some(TurnPhase::Due(_)));
        if is_due && phase(turned.life_before) != phase(turned.life) {
            self.clocks.turn.insert(turned.key.clone(), turned.entry.at);
        }
    }

    fn step_fires(&mut self, model: &Model, turned: &Turned<'_>) {
        let Some(step) = turned.entry.body.step else { return };
        let before = &turned.steps_before[step];
        let after = &turned.steps[step];
        let waits = before.status == StepStatus::Waiting;
        let undoes = before.status == StepStatus::Compensating;
        let moved = before.status != after.status || before.attempts != after.attempts || before.undo != after.undo;
        let kind = turned.entry.kind;
        let by_clock = matches!(kind, Kind::Deadline | Kind::Retry | Kind::WouldSend)
            || (kind == Kind::Compensation && undoes && turned.entry.body.reason.is_some());
        if !(waits || undoes) || !moved || !by_clock {
            return;
        }
        self.clocks.fired += 1;
        let name = &turned.saga.steps[step].name;
        let due = self.clocks.due.get(&(turned.key.clone(), step)).copied().flatten();
        if let Some(due) = due.filter(|due| *due > turned.entry.at) {
            let early = (due.0 - turned.entry.at.0) / 1000;
            let when =
                if due == UNSENT { "before the bus gave its word".to_owned() } else { format!("{early} ms early") };
            let what = format!("{} {name} fired {when}", turned.key);
            self.complain(Promise::Early, what);
        }
        let Some(deadline) = before.deadline else {
            return self.complain(Promise::Early, format!("{} {name} fired without a deadline", turned.key));
        };
        if self.watermark < Some(deadline) {
            self.complain(
                Promise::False,
                format!("{} {name} fired before the watermark had passed its deadline", turned.key),
            );
        }
        self.clocks.missed.insert((turned.key.clone(), step), deadline);
        let awaited = if waits { turned.saga.awaited(step) } else { turned.saga.awaited_compensation(step) };
        if turned.key.saga == LINE {
            return;
        }
        for uid in model.unapplied_before(turned.saga, &turned.key.order_id, deadline) {
            if awaited.contains(&model.messages[uid].event) {
                let what = format!("{} {name} fired, and message {uid} was in the tap in time", turned.key);
                self.complain(Promise::False, what);
            }
        }
    }

    /// Rule 7: a failure or a cancellation is decided on all that was published before it.
    fn turn_fires(&mut self, model: &Model, turned: &Turned<'_>) {
        let is_turned = |turn: &escrow::saga::order::Turn| matches!(turn.phase, TurnPhase::Turned(_));
        let was = turned.life_before.turn.as_ref().is_some_and(is_turned);
        let Some(turn) = turned.life.turn.as_ref().filter(|turn| !was && is_turned(turn)) else { return };
        let by_word = matches!(turn.cause, Cause::Failed(_) | Cause::Cancelled);
        if !by_word || turned.entry.kind == Kind::Command || turned.key.saga == LINE {
            return;
        }
        let Some(asked) = self.clocks.turn.get(turned.key).copied() else {
            return self.complain(Promise::False, format!("{} turned back without having been asked to", turned.key));
        };
        if self.watermark < Some(asked) {
            let what =
                format!("{} turned back, and the watermark has not passed the word that asked for it", turned.key);
            self.complain(Promise::False, what);
        }
        for uid in model.unapplied_before(turned.saga, &turned.key.order_id, asked) {
            let event = &model.messages[uid].event;
            let what = format!("{} turned back, and message {uid} ({event}) was in the tap before", turned.key);
            self.complain(Promise::False, what);
        }
    }

    /// When the step is due after this entry.
    fn rewind(&mut self, turned: &Turned<'_>, step: usize) {
        let (before, after) = (&turned.steps_before[step], &turned.steps[step]);
        if before == after {
            return;
        }
        let (at, kind) = (turned.entry.at, turned.entry.kind);
        let definition = &turned.saga.steps[step];
        let waiting = after.status == StepStatus::Waiting;
        let undoing = after.status == StepStatus::Compensating;
        let known = self.clocks.due.get(&(turned.key.clone(), step)).copied().flatten();
        let asks = after.awaiting.is_some() && after.awaiting != before.awaiting;
        let confirmed = matches!(kind, Kind::Confirmation | Kind::Withheld) && known == Some(UNSENT);
        let due = if !(waiting || undoing) || kind == Kind::Command {
            None
        } else if asks {
            // Only the broker's word on it winds the clock again.
            Some(UNSENT)
        } else if waiting && before.status != StepStatus::Waiting {
            match &definition.within {
                Some(Within::Fixed(span)) => Some(at + *span),
                Some(Within::Computed(_)) | None => None,
            }
        } else if waiting && confirmed {
            definition.retry.as_ref().map(|retry| at + retry.cadence.wait_after(after.attempts))
        } else if undoing && confirmed {
            let undo = definition.compensation.as_ref();
            undo.map(|undo| match &undo.retry {
                Some(cadence) if after.undo.attempts > 1 => at + cadence.wait_after(after.undo.attempts - 1),
                Some(_) | None => at + undo.patience(),
            })
        } else {
            // What is not moved stays where it was.
            known.filter(|_| before.deadline == after.deadline)
        };
        self.clocks.due.insert((turned.key.clone(), step), due);
    }
}
