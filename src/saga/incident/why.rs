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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn catalog() -> Catalog {
        let text = "saga: order\nversion: 1\nwatch: [{ exchange: shop }]\nread: { event: /type, order_id: /order }\nsteps:\n  \
                    placed: { done: Placed }\n  stock: { after: placed, done: [Reserved, Found], within: 1m, compensation: { publish: \
                    Release, done: Released } }\n";
        let parsed = crate::saga::parse::parse("order.yaml", text).unwrap_or_else(|found| panic!("{found:?}"));
        std::iter::once(Arc::new(parsed.saga)).collect()
    }

    fn said(reason: StuckReason, step: Option<&str>, count: u64, finding: Option<&str>) -> String {
        stuck(&catalog(), Stuck { saga: "order", step, reason, count, since: Moment(0), finding })
    }

    #[test]
    fn every_reason_says_how_many_where_since_when_and_what_to_do() {
        for (reason, what) in [
            (StuckReason::TimedOut, "Reserved or Found did not come in time"),
            (StuckReason::Failed, "`retry`, `skip` or `compensate`"),
            (StuckReason::OrderOverdue, "did not end in time"),
            (StuckReason::CompensationOverdue, "Released did not come in time"),
            (StuckReason::CompensationUnroutable, "no queue is bound"),
            (StuckReason::CompensationRefused, "Escrow's permissions"),
            (StuckReason::CompensationFailed, "answered with a failure"),
            (StuckReason::TemplateFailed, "an expression of the definition failed"),
            (StuckReason::Unproven, "something may have been missed"),
            (StuckReason::Observe, "mode `observe`"),
        ] {
            let said = said(reason, Some("stock"), 2, Some("queue stock does not exist"));
            assert!(
                said.starts_with("2 orders of saga `order` stuck in step `stock` since 1970-01-01T00:00:00"),
                "{said}"
            );
            assert!(said.contains(what) && said.ends_with("; queue stock does not exist"), "{said}");
        }
        let held = said(StuckReason::Held, None, 1, None);
        assert!(
            held.starts_with("the brake of saga `order` holds 1 order, since") && held.contains("release or drop"),
            "{held}"
        );
        let gone = said(StuckReason::TimedOut, Some("gone"), 1, None);
        assert!(gone.contains("an event did not come") && gone.ends_with("`retry` them"), "{gone}");
    }

    #[test]
    fn a_step_that_stalls_and_one_that_is_silent_name_the_event_and_the_service_to_look_at() {
        let stall = Stall { saga: "order", step: "stock", count: 7, since: Moment(0), finding: Some("it is so") };
        let stalled = stalled(&catalog(), stall, Span::from_secs(600));
        assert!(
            stalled.starts_with("7 orders of saga `order` timed out in step `stock` within the last 10m"),
            "{stalled}"
        );
        assert!(
            stalled.contains("Reserved or Found did not come in time") && stalled.ends_with("; it is so"),
            "{stalled}"
        );
        let silent = silent(&catalog(), Stall { finding: None, ..stall }, Span::from_secs(300));
        assert!(silent.starts_with("nothing of Reserved or Found was seen for 5m, while 7 orders"), "{silent}");
        assert!(silent.ends_with("runs and reads"), "{silent}");
    }
}
