//! One sentence about one order that a person can act on.
//!
//! What is awaited, since when, how long that usually takes, what holds it, what happens next; and where a person is needed,
//! which action mends it. Facts only: it says which event did not come, never which service is to blame. Pure, so the
//! whole table of cases is a test.

use std::fmt::Write as _;

use super::facts::{Facts, NextWhat, Wait};
use super::view::unproven_word;
use crate::saga::definition::{Mode, OnTimeout, RetryTo, Step, StepIx};
use crate::saga::order::{Cause, Need, Skipped, Status, StepStatus, StuckReason, TurnPhase, Unproven};
use crate::saga::time::{Moment, Span};

/// Longest piece of foreign text in a sentence.
const FOREIGN_CHARS_MAX: usize = 160;

/// The sentence.
pub fn sentence(facts: &Facts<'_>, waits: &[Wait], unproven: &[Unproven]) -> String {
    if !facts.is_known {
        return format!(
            "{} on version {} of saga `{}`, whose definition this Escrow does not hold, so its steps are shown by number",
            facts.order.life.status.word(),
            facts.order.version,
            facts.order.key.saga
        );
    }
    match facts.order.life.status {
        Status::Running => running(facts, waits, unproven),
        Status::Compensating => compensating(facts, waits),
        Status::Stuck => stuck(facts, waits, unproven),
        Status::Completed | Status::Compensated | Status::Cancelled | Status::Failed | Status::Closed => {
            ended(facts, unproven)
        }
    }
}

fn running(facts: &Facts<'_>, waits: &[Wait], unproven: &[Unproven]) -> String {
    if let Some(turn) = &facts.order.life.turn
        && let TurnPhase::Due(at) = turn.phase
    {
        return format!(
            "about to turn back because {}: decided once everything published before {at} is applied{}",
            cause(facts, turn.cause, &turn.reason),
            sight(facts)
        );
    }
    let Some(first) = waits.first() else {
        return match facts.next() {
            Some(next) => format!("nothing is awaited at the moment; {} at {}", next_words(next.what), next.at),
            None => "nothing is awaited; a message of Escrow's own is on its way".to_owned(),
        };
    };
    let mut text = waiting(facts, first);
    if let Some(said) = retried(facts, first.step) {
        let _ = write!(text, ", {said}");
    }
    say_queue(&mut text, first);
    let _ = write!(text, "; {}", outlook(facts, first, unproven));
    more_waits(&mut text, facts, waits);
    text
}

/// "waiting 42s for InventoryReserved (step `inventory`, usually 1.2s, 99 of 100 within 4s)"
fn waiting(facts: &Facts<'_>, wait: &Wait) -> String {
    let step = facts.step(wait.step);
    let mut text = "waiting".to_owned();
    if let Some(since) = wait.since {
        let _ = write!(text, " {}", facts.now.since(since));
    }
    let _ = write!(text, " for {}", either(&wait.events));
    let state = &facts.order.steps[wait.step];
    if let Some(expected) = state.expected {
        let _ = write!(text, ", {} of {expected} seen", state.parts.len());
    }
    let _ = write!(text, " (step `{}`", step.name);
    if let Some(usual) = facts.usual(wait.step) {
        let _ = write!(text, ", usually {}, 99 of 100 within {}", usual.p50, usual.p99);
    }
    text.push(')');
    text
}

/// "; queue inventory has no consumer and 312 messages"
fn say_queue(text: &mut String, wait: &Wait) {
    if let Some(finding) = &wait.queue {
        let _ = write!(text, "; {}", foreign(&finding.words()));
    }
}

fn retried(facts: &Facts<'_>, step: StepIx) -> Option<String> {
    let attempts = facts.order.steps[step].attempts;
    (attempts > 0).then(|| if attempts == 1 { "retried once".to_owned() } else { format!("retried {attempts} times") })
}

/// What happens when a wait is not answered.
fn outlook(facts: &Facts<'_>, wait: &Wait, unproven: &[Unproven]) -> String {
    let Some(deadline) = wait.deadline else {
        return match facts.order.life.deadline {
            Some(whole) => format!("it has no deadline; the order as a whole is overdue at {whole}"),
            None => "it has no deadline".to_owned(),
        };
    };
    let consequence = consequence(facts, wait, unproven);
    if wait.overdue {
        return format!("it is overdue since {deadline}, and now {consequence}");
    }
    if wait.due {
        return format!(
            "its deadline passed {} ago, but it may still be among what is not read yet{}; if it is not, {consequence}",
            facts.now.since(deadline),
            sight(facts)
        );
    }
    format!("if it does not come within {}, {consequence}", deadline.since(facts.now))
}

/// What Escrow does about a step that is overdue.
fn consequence(facts: &Facts<'_>, wait: &Wait, unproven: &[Unproven]) -> String {
    let ix = wait.step;
    let step = facts.step(ix);
    let left = facts.retries_left(ix);
    let acts = if facts.order.has_turned() {
        return "it is undone as if it had happened".to_owned();
    } else if left > 0 {
        let attempt = facts.order.steps[ix].attempts + 1;
        let target = step.retry.as_ref().map_or_else(String::new, |retry| target(&retry.to));
        let withheld = if is_withheld(step, wait) { ", or withheld if the queue is still so" } else { "" };
        format!("its message is sent again{target} (retry {attempt} of {}){withheld}", attempt + left - 1)
    } else {
        match step.on_timeout {
            OnTimeout::Alert => return "the order becomes stuck and people are told".to_owned(),
            OnTimeout::Skip => return "the step is skipped and the order goes on".to_owned(),
            OnTimeout::Compensate => format!("the order turns back{}", undone(facts)),
        }
    };
    if facts.mode == Mode::Observe {
        return format!("the order becomes stuck: in mode `observe` nothing is sent, else {acts}");
    }
    if !unproven.is_empty() {
        return format!("the order becomes stuck: it is {}, else {acts}", doubt(unproven));
    }
    acts
}

/// Whether a retry would be withheld now, by what is known of the queue it goes to.
fn is_withheld(step: &Step, wait: &Wait) -> bool {
    let Some(RetryTo::Queue(to)) = step.retry.as_ref().map(|retry| &retry.to) else { return false };
    wait.queue.as_ref().is_some_and(|finding| finding.queue == *to && !finding.what.can_take())
}

fn target(to: &RetryTo) -> String {
    match to {
        RetryTo::Queue(queue) => format!(" to queue `{queue}`"),
        RetryTo::Exchange { exchange, .. } => format!(" to exchange `{exchange}`"),
        RetryTo::Original => " to where it was first published".to_owned(),
    }
}

/// " and undoes payment, placed": the steps a turning back would cover now.
fn undone(facts: &Facts<'_>) -> String {
    let covered = facts.order.steps.iter().enumerate().rev().filter(|(ix, state)| {
        let may_have_happened =
            matches!(state.status, StepStatus::Done | StepStatus::TimedOut) || state.skipped == Some(Skipped::Timeout);
        may_have_happened && facts.step(*ix).compensation.is_some()
    });
    let names: Vec<String> = covered.map(|(ix, _)| format!("`{}`", facts.step(ix).name)).collect();
    if names.is_empty() { String::new() } else { format!(" and undoes {}", names.join(", ")) }
}

fn compensating(facts: &Facts<'_>, waits: &[Wait]) -> String {
    let mut text = "turning back".to_owned();
    if let Some(turn) = &facts.order.life.turn {
        if let TurnPhase::Turned(at) = turn.phase {
            let _ = write!(text, " for {}", facts.now.since(at));
        }
        let _ = write!(text, " because {}", cause(facts, turn.cause, &turn.reason));
    }
    let undoings: Vec<&Wait> = waits.iter().filter(|wait| wait.is_undoing).collect();
    match (undoings.first(), waits.first()) {
        (Some(first), _) => {
            let _ = write!(text, ": {}", undoing(facts, first));
        }
        (None, Some(first)) => {
            let _ = write!(text, ": {}", waiting(facts, first));
            say_queue(&mut text, first);
            let _ = write!(text, "; {}", outlook(facts, first, &[]));
        }
        (None, None) => text.push_str(": what is left to undo is being asked for"),
    }
    more_waits(&mut text, facts, waits);
    text
}

fn undoing(facts: &Facts<'_>, wait: &Wait) -> String {
    let step = facts.step(wait.step);
    let state = &facts.order.steps[wait.step];
    let since = wait.since.map(|since| format!(" {}", facts.now.since(since))).unwrap_or_default();
    if wait.events.is_empty() || (state.undo.confirmed_at.is_none() && asks(facts, wait.step)) {
        return format!(
            "waiting for the broker's word that {} reached a queue (undoing step `{}`)",
            asked(facts, wait.step),
            step.name
        );
    }
    let mut text = format!("waiting{since} for {} (undoing step `{}`)", either(&wait.events), step.name);
    say_queue(&mut text, wait);
    match wait.deadline {
        Some(deadline) if deadline > facts.now => {
            let _ = write!(text, "; if it does not come within {}, ", deadline.since(facts.now));
            let is_asked_again =
                facts.next().is_some_and(|it| it.step == Some(wait.step) && it.what == NextWhat::RetryCompensation);
            text.push_str(if is_asked_again { "it is asked for again" } else { "the order becomes stuck" });
        }
        Some(deadline) => {
            let _ = write!(text, "; its deadline passed {} ago{}", facts.now.since(deadline), sight(facts));
        }
        None => {}
    }
    text
}

fn stuck(facts: &Facts<'_>, waits: &[Wait], unproven: &[Unproven]) -> String {
    let Some(need) = facts.order.first_need() else {
        return "stuck, and the reason is not recorded; `close` ends it".to_owned();
    };
    let mut text = format!("stuck for {}: {}", facts.now.since(need.since), trouble(facts, need, waits, unproven));
    if let Some(wait) = silent(need, waits) {
        say_queue(&mut text, wait);
    }
    let _ = write!(text, "; {}", remedy(facts, need));
    if !unproven.is_empty() && need.reason != StuckReason::Unproven {
        let _ = write!(text, "; it is {}", doubt(unproven));
    }
    let more = facts.order.life.needs.len() - 1;
    if more > 0 {
        let _ = write!(text, "; {more} more {} a person", if more == 1 { "thing needs" } else { "things need" });
    }
    text
}

/// The wait whose silence made the order stuck, where it is a silence and something is known of the queue.
fn silent<'a>(need: &Need, waits: &'a [Wait]) -> Option<&'a Wait> {
    let (of_step, undoing) = match need.reason {
        StuckReason::TimedOut | StuckReason::Held | StuckReason::Unproven | StuckReason::Observe => (need.step?, false),
        StuckReason::CompensationOverdue => (need.step?, true),
        StuckReason::OrderOverdue => return waits.iter().find(|wait| wait.queue.is_some()),
        StuckReason::Failed
        | StuckReason::CompensationUnroutable
        | StuckReason::CompensationRefused
        | StuckReason::CompensationFailed
        | StuckReason::TemplateFailed => return None,
    };
    waits.iter().find(|wait| wait.step == of_step && wait.is_undoing == undoing)
}

/// What is wrong.
fn trouble(facts: &Facts<'_>, need: &Need, waits: &[Wait], unproven: &[Unproven]) -> String {
    let ix = need.step.filter(|&ix| ix < facts.saga.steps.len());
    let step = ix.map_or_else(|| "a step".to_owned(), |ix| format!("step `{}`", facts.step(ix).name));
    let detail = need.detail.as_deref().map(|it| format!(" ({})", foreign(it))).unwrap_or_default();
    match need.reason {
        StuckReason::TimedOut => ix.map_or_else(|| format!("{step} timed out"), |ix| silence(facts, ix)) + &detail,
        StuckReason::Failed => {
            let failure = ix.and_then(|ix| facts.order.steps[ix].failure.as_ref());
            let event = failure.map_or_else(|| "a failure".to_owned(), |it| foreign(&it.name));
            format!("{event} was seen for {step}{detail}")
        }
        StuckReason::OrderOverdue => {
            let awaited: Vec<String> = waits.iter().flat_map(|wait| wait.events.clone()).collect();
            let rest = if awaited.is_empty() { String::new() } else { format!(", {} did not come", either(&awaited)) };
            format!("the order did not end within {}{rest}{detail}", facts.saga.within)
        }
        StuckReason::CompensationOverdue => {
            let awaited = ix.map(|ix| facts.saga.awaited_compensation(ix)).unwrap_or_default();
            let asked = ix.map_or_else(|| "the compensation".to_owned(), |ix| asked(facts, ix));
            format!("{asked} was asked for, and {} has not come for {step}{detail}", either(&awaited))
        }
        StuckReason::CompensationUnroutable => {
            let asked = ix.map_or_else(|| "a compensation".to_owned(), |ix| asked(facts, ix));
            format!("no queue is bound to receive {asked}, which undoes {step}{detail}")
        }
        StuckReason::CompensationRefused => {
            let asked = ix.map_or_else(|| "a compensation".to_owned(), |ix| asked(facts, ix));
            format!("the broker refused {asked}, which undoes {step}{detail}")
        }
        StuckReason::CompensationFailed => format!("undoing {step} was answered with a failure{detail}"),
        StuckReason::TemplateFailed => format!("an expression of the definition failed for {step}{detail}"),
        StuckReason::Held => format!("the brake holds it: too many orders turned back by timeout{}", blame(facts)),
        StuckReason::Unproven => {
            let held = if unproven.is_empty() { "unproven".to_owned() } else { doubt(unproven) };
            format!("it is {held}, so nothing was done about {}{detail}", overdue(facts, ix))
        }
        StuckReason::Observe => {
            format!("the saga is in mode `observe`, so nothing was sent about {}{detail}", overdue(facts, ix))
        }
    }
}

/// "InventoryReserved did not come within 1m for step `inventory`, retried 3 times"
fn silence(facts: &Facts<'_>, ix: StepIx) -> String {
    let state = &facts.order.steps[ix];
    let step = facts.step(ix);
    let within = match (state.opened_at, state.closed_at.or(state.deadline)) {
        (Some(opened), Some(end)) => format!(" within {}", end.since(opened)),
        _ => String::new(),
    };
    let usual = facts.usual(ix).map(|it| format!(" (usually {})", it.p50)).unwrap_or_default();
    let retried = retried(facts, ix).map(|said| format!(", {said}")).unwrap_or_default();
    format!("{} did not come{within}{usual} for step `{}`{retried}", either(&facts.saga.awaited(ix)), step.name)
}

fn overdue(facts: &Facts<'_>, step: Option<StepIx>) -> String {
    step.map_or_else(|| "the turning back".to_owned(), |ix| format!("step `{}`", facts.step(ix).name))
}

fn blame(facts: &Facts<'_>) -> String {
    facts
        .order
        .life
        .turn
        .as_ref()
        .map(|turn| format!("; this one because {}", cause(facts, turn.cause, &turn.reason)))
        .unwrap_or_default()
}

/// What a person can do (rule 15).
fn remedy(facts: &Facts<'_>, need: &Need) -> &'static str {
    let has_turned = facts.order.has_turned();
    // Without a `retry` in the definition nobody knows where its message should go.
    let can_retry = need.step.is_some_and(|step| facts.step(step).retry.is_some());
    match need.reason {
        StuckReason::TimedOut if has_turned => "`skip` goes on without it, `close` ends the order as it is",
        StuckReason::TimedOut if !can_retry => {
            "`extend` waits longer, `skip` goes on without it, `compensate` turns the order back"
        }
        StuckReason::Failed if !can_retry => "`skip` goes on without it, `compensate` turns the order back",
        StuckReason::TimedOut => {
            "`retry` sends its message again, `extend` waits longer, `skip` goes on without it, `compensate` turns the order back"
        }
        StuckReason::Failed => "`retry` tries again, `skip` goes on without it, `compensate` turns the order back",
        StuckReason::OrderOverdue => "`extend` waits longer, `compensate` turns the order back, `close` ends it",
        StuckReason::CompensationOverdue | StuckReason::CompensationFailed => {
            "`retry` asks again with the same message id, `skip` takes it as undone"
        }
        StuckReason::CompensationUnroutable => "bind a queue and `retry`, or `skip` takes it as undone",
        StuckReason::CompensationRefused => "mend exchange or permission and `retry`, or `skip` takes it as undone",
        StuckReason::TemplateFailed => "`skip` goes on without it, `close` ends the order as it is",
        StuckReason::Held => "`release` lets it turn back, `drop` leaves it as it is",
        StuckReason::Unproven => "`release` vouches for what is known and decides anew, `drop` leaves it as it is",
        StuckReason::Observe => "switch the saga to mode `act` and `release`, or `close` the order",
    }
}

fn ended(facts: &Facts<'_>, unproven: &[Unproven]) -> String {
    let life = &facts.order.life;
    let word = life.status.word();
    let mut text = match life.ended_at {
        Some(at) => format!("{word} at {at}, {} after it began", at.since(facts.order.created_at)),
        None => word.to_owned(),
    };
    let because = life.turn.as_ref().map(|turn| cause(facts, turn.cause, &turn.reason));
    match (life.status, because) {
        (Status::Compensated, because) => {
            let names = facts.order.steps.iter().enumerate();
            let names: Vec<String> = names
                .filter(|(_, state)| state.status == StepStatus::Compensated)
                .map(|(ix, _)| format!("`{}`", facts.step(ix).name))
                .collect();
            let _ = write!(text, ": undone {}", names.join(", "));
            if let Some(because) = because {
                let _ = write!(text, " because {because}");
            }
        }
        (Status::Cancelled | Status::Failed, Some(because)) => {
            let _ = write!(text, ": {because}, and nothing had to be undone");
        }
        (Status::Closed, _) => match life.closed_because.as_deref() {
            Some("never_opened") => text.push_str(": its beginning was never seen"),
            Some(other) => {
                let _ = write!(text, ": {}", foreign(other));
            }
            None => text.push_str(" by a person; its audit trail says by whom and why"),
        },
        (Status::Cancelled | Status::Failed, None)
        | (Status::Completed | Status::Running | Status::Compensating | Status::Stuck, _) => {}
    }
    if !unproven.is_empty() {
        let _ = write!(text, "; it is {}", doubt(unproven));
    }
    text
}

/// What turned the order back.
fn cause(facts: &Facts<'_>, cause: Cause, reason: &str) -> String {
    let name = |ix: StepIx| facts.saga.steps.get(ix).map_or("?", |step| step.name.as_str());
    match cause {
        Cause::Failed(ix) => {
            let event = facts.order.steps.get(ix).and_then(|state| state.failure.as_ref());
            event.map_or_else(
                || format!("step `{}` failed", name(ix)),
                |it| format!("step `{}` failed with {}", name(ix), foreign(&it.name)),
            )
        }
        Cause::TimedOut(ix) => format!("step `{}` timed out", name(ix)),
        Cause::Cancelled => {
            facts.order.life.cancelled.as_ref().map_or_else(
                || "it was cancelled".to_owned(),
                |it| format!("it was cancelled by {}", foreign(&it.name)),
            )
        }
        Cause::Command if reason.is_empty() => "a person asked for it".to_owned(),
        Cause::Command => format!("a person asked for it ({})", foreign(reason)),
    }
}

fn doubt(unproven: &[Unproven]) -> String {
    let words: Vec<String> = unproven
        .iter()
        .map(|&reason| {
            let what = match reason {
                Unproven::Beginning => "its beginning was not seen",
                Unproven::Gap => "messages may have been missed",
                Unproven::Quarantine => "a message for it could not be read",
                Unproven::Inferred => "events were placed by their order of arrival",
                Unproven::Evidence => "a later step is already done",
                Unproven::Completed => "it was completed once before",
            };
            format!("{}: {what}", unproven_word(reason))
        })
        .collect();
    format!("unproven ({})", words.join("; "))
}

fn sight(facts: &Facts<'_>) -> String {
    facts.watermark.map_or_else(
        || " (nothing is known to be read yet)".to_owned(),
        |watermark: Moment| {
            let lag: Span = facts.now.since(watermark);
            format!(" (read up to {watermark}, {lag} behind)")
        },
    )
}

fn next_words(what: NextWhat) -> &'static str {
    match what {
        NextWhat::Retry => "a message is sent again",
        NextWhat::TimeOut => "a step times out",
        NextWhat::RetryCompensation => "a compensation is asked for again",
        NextWhat::CompensationOverdue => "a compensation is overdue",
        NextWhat::TurnBack => "the order turns back",
        NextWhat::OrderOverdue => "the order as a whole is overdue",
    }
}

fn more_waits(text: &mut String, facts: &Facts<'_>, waits: &[Wait]) {
    let rest: Vec<String> = waits.iter().skip(1).map(|wait| format!("`{}`", facts.step(wait.step).name)).collect();
    if !rest.is_empty() {
        let _ = write!(text, "; also waiting in {}", rest.join(", "));
    }
}

fn asks(facts: &Facts<'_>, ix: StepIx) -> bool {
    facts.step(ix).compensation.as_ref().is_some_and(|undo| undo.publish.is_some())
}

fn asked(facts: &Facts<'_>, ix: StepIx) -> String {
    let publish = facts.step(ix).compensation.as_ref().and_then(|undo| undo.publish.as_ref());
    publish.map_or_else(|| "the compensation by the services".to_owned(), |publish| publish.event.clone())
}

fn either(events: &[String]) -> String {
    if events.is_empty() { "an event".to_owned() } else { events.join(" or ") }
}

/// Text from outside, on one line and not too long.
fn foreign(text: &str) -> String {
    let mut clean: String =
        text.chars().take(FOREIGN_CHARS_MAX).map(|it| if it.is_control() { ' ' } else { it }).collect();
    if text.chars().count() > FOREIGN_CHARS_MAX {
        clean.push('…');
    }
    clean
}
