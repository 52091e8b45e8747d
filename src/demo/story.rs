//! What happened to an order, in a sentence a person reads in passing. Everyday steps make no story.

use std::time::Duration;

use super::summary::Tone;
use crate::saga::definition::{Saga, Step, StepIx};
use crate::saga::journal::{EntryBody, Kind, StepChange};
use crate::saga::order::{Skipped, Status, StepStatus};

/// One piece of news.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Story {
    /// Since the beginning of the run.
    pub at: Duration,
    pub order_id: String,
    pub text: String,
    pub tone: Tone,
}

/// Whether a change is a step that was given up.
pub fn is_timeout(change: &StepChange) -> bool {
    change.from == StepStatus::Waiting
        && match change.now.status {
            StepStatus::TimedOut => true,
            StepStatus::Skipped => change.now.skipped == Some(Skipped::Timeout),
            StepStatus::Pending
            | StepStatus::Waiting
            | StepStatus::Done
            | StepStatus::Failed
            | StepStatus::Compensating
            | StepStatus::Compensated
            | StepStatus::CompensationFailed => false,
        }
}

/// Whether a change is a step that reached `status` now.
pub fn became(change: &StepChange, status: StepStatus) -> bool {
    change.from != status && change.now.status == status
}

/// The sentence about one journal entry; `retried` says that this order needed a retry before. `None`: nothing to tell.
pub fn tell(saga: &Saga, kind: Kind, body: &EntryBody, retried: bool) -> Option<(Tone, String)> {
    let step = |ix: StepIx| saga.steps.get(ix);
    let named = body.step.and_then(step).map_or("the order", |step| step.name.as_str());
    let event = body.name.as_deref().unwrap_or("a message");
    match kind {
        Kind::Retry => {
            let of = body.step.and_then(step).and_then(|step| step.retry.as_ref()).map_or(0, |it| it.cadence.times);
            let attempt = body.steps.first().map_or(0, |change| change.now.attempts);
            Some((Tone::Busy, format!("{named} is silent: message sent again ({attempt} of {of})")))
        }
        Kind::Withheld => Some((Tone::Bad, format!("{named}: the message could not be sent again"))),
        Kind::Compensation if body.reason.is_none() => Some((Tone::Busy, format!("undoing {named}: {event}"))),
        Kind::Compensation => Some((Tone::Busy, format!("undoing {named}: {event} again, nobody answered"))),
        Kind::Deadline => deadline(saga, body),
        Kind::Event => body.steps.iter().find_map(|change| closed(step(change.step)?, change, event)).or_else(|| {
            let completed = body.life.as_ref().is_some_and(|life| life.now.status == Status::Completed);
            (completed && retried).then(|| (Tone::Good, "completed, after a retry".to_owned()))
        }),
        Kind::Late => Some((Tone::Busy, format!("{event} came late"))),
        Kind::Repeated => Some((Tone::Busy, format!("{event} came again as another message: done twice?"))),
        Kind::Conflict => Some((Tone::Bad, format!("{event} contradicts what is known"))),
        Kind::Command => Some((Tone::Plain, format!("a person asked for: {event}"))),
        Kind::Confirmation | Kind::WouldSend => None,
    }
}

fn deadline(saga: &Saga, body: &EntryBody) -> Option<(Tone, String)> {
    let name = |change: &StepChange| saga.steps.get(change.step).map_or("a step", |step| step.name.as_str());
    body.steps.iter().find_map(|change| {
        if is_timeout(change) {
            let then = if change.now.status == StepStatus::Skipped { "going on without" } else { "turning back" };
            Some((Tone::Bad, format!("{} never answered: {then}", name(change))))
        } else if became(change, StepStatus::CompensationFailed) {
            Some((Tone::Bad, format!("undoing {}: nobody answered, the order is stuck", name(change))))
        } else {
            None
        }
    })
}

fn closed(step: &Step, change: &StepChange, event: &str) -> Option<(Tone, String)> {
    if became(change, StepStatus::Failed) {
        Some((Tone::Bad, format!("{event}: turning back")))
    } else if became(change, StepStatus::Compensated) {
        Some((Tone::Good, format!("{event}: {} is undone", step.name)))
    } else {
        None
    }
}
