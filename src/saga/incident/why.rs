//! What an incident says: one sentence, with what to do.

use crate::saga::catalog::Catalog;
use crate::saga::order::StuckReason;
use crate::saga::time::{Moment, Span};

/// Orders that did not get past a step.
#[derive(Clone, Copy, Debug)]
pub struct Stall<'a> {
    pub saga: &'a str,
    pub step: &'a str,
    pub count: u64,
    pub since: Moment,
    /// What a look at the service's queue found, as a clause: `queue inventory has no consumer and 312 messages`.
    pub finding: Option<&'a str>,
}

/// Orders stuck for one reason.
#[derive(Clone, Copy, Debug)]
pub struct Stuck<'a> {
    pub saga: &'a str,
    pub step: Option<&'a str>,
    pub reason: StuckReason,
    pub count: u64,
    pub since: Moment,
    /// As in [`Stall`].
    pub finding: Option<&'a str>,
}

/// How many orders, what did not happen, since when, and what to do.
pub fn stuck(catalog: &Catalog, it: Stuck<'_>) -> String {
    let Stuck { saga, step, reason, count, since, finding } = it;
    let orders = orders(count);
    let step_name = step.map(|step| format!(" in step `{step}`")).unwrap_or_default();
    let awaited = |undoing| awaited(catalog, saga, step, undoing);
    let what = match reason {
        StuckReason::TimedOut => {
            format!("{} did not come in time; mend the service, then `retry` them", awaited(false))
        }
        StuckReason::Failed => "the step failed; `retry`, `skip` or `compensate` them".to_owned(),
        StuckReason::OrderOverdue => {
            "the order did not end in time; look at what it waits for, then `compensate` or `close` it".to_owned()
        }
        StuckReason::CompensationOverdue => {
            format!("{} did not come in time; mend the service, then `retry` the compensation", awaited(true))
        }
        StuckReason::CompensationUnroutable => {
            "no queue is bound to receive its compensation; bind one, then `retry`".to_owned()
        }
        StuckReason::CompensationRefused => {
            "the broker refused its compensation; look at the exchange and Escrow's permissions, then `retry`"
                .to_owned()
        }
        StuckReason::CompensationFailed => {
            "its compensation was answered with a failure; mend that, then `retry` or `close`".to_owned()
        }
        StuckReason::TemplateFailed => "an expression of the definition failed; mend the definition, move the orders, \
                                        then `retry`"
            .to_owned(),
        StuckReason::Held => {
            return format!(
                "the brake of saga `{saga}` holds {orders}, since {since}: too many turned back by timeout; find the cause, \
                 reset it, and release or drop what is held"
            );
        }
        StuckReason::Unproven => {
            "something may have been missed, so nothing was done; look, then `release` or `drop` them".to_owned()
        }
        StuckReason::Observe => {
            "the saga is in mode `observe`, so nothing was sent; act by hand, or switch to `act`".to_owned()
        }
    };
    format!("{orders} of saga `{saga}` stuck{step_name} since {since}: {what}{}", clause(finding))
}

/// Much of what came due on a step timed out.
pub fn stalled(catalog: &Catalog, it: Stall<'_>, window: Span) -> String {
    let Stall { saga, step, count, since, finding } = it;
    let awaited = awaited(catalog, saga, Some(step), false);
    format!(
        "{} of saga `{saga}` timed out in step `{step}` within the last {window}, at least half of all that came due since {since}: {awaited} \
         did not come in time; look at the service that publishes it{}",
        orders(count),
        clause(finding)
    )
}

/// Nothing comes of a step's events.
pub fn silent(catalog: &Catalog, it: Stall<'_>, silent_for: Span) -> String {
    let Stall { saga, step, count, since, finding } = it;
    let awaited = awaited(catalog, saga, Some(step), false);
    format!(
        "nothing of {awaited} was seen for {silent_for}, while {} of saga `{saga}` came to step `{step}` since {since}; look \
         whether its service runs and reads{}",
        orders(count),
        clause(finding)
    )
}

/// `1 order`, `2 orders`.
pub fn orders(count: u64) -> String {
    if count == 1 { "1 order".to_owned() } else { format!("{count} orders") }
}

fn clause(finding: Option<&str>) -> String {
    finding.map(|finding| format!("; {finding}")).unwrap_or_default()
}

fn awaited(catalog: &Catalog, saga: &str, step: Option<&str>, undoing: bool) -> String {
    let known = catalog.newest(saga).and_then(|saga| Some((saga, saga.step_ix(step?)?)));
    match known {
        Some((saga, ix)) if undoing => saga.awaited_compensation(ix).join(" or "),
        Some((saga, ix)) => saga.awaited(ix).join(" or "),
        None => "an event".to_owned(),
    }
}
