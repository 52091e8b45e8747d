//! Events that a definition names, that nobody ever published, and that are called almost like one that is published: misspelt on one
//! side. Orders would time out on such a step, and be turned back, though every service did its work.

use std::collections::BTreeMap;

use crate::saga::coverage::is_misspelling;
use crate::saga::definition::{Role, Saga};
use crate::saga::incident::About;
use crate::saga::incident::cause::Cause;
use crate::saga::incident::decide::Observed;
use crate::saga::time::Moment;
use crate::store::EventMet;

/// A name that came less often may be a trial of somebody.
const STRANGER_MIN: u64 = 20;

/// The events of a saga that are misspelt, by step; one that is about the order as a whole has none.
pub fn misspelt(saga: &Saga, met: &[EventMet], now: Moment) -> Vec<Observed> {
    let mut seen: BTreeMap<&str, u64> = BTreeMap::new();
    for it in met {
        *seen.entry(&it.event).or_default() += it.seen;
    }
    let often = seen.iter().filter(|(event, count)| **count >= STRANGER_MIN && !event.is_empty());
    let strangers: Vec<&str> =
        often.map(|(event, _)| *event).filter(|event| !saga.roles.contains_key(*event)).collect();
    let mut by_step: BTreeMap<Option<&str>, Vec<String>> = BTreeMap::new();
    for (event, roles) in saga.roles.iter().filter(|(event, _)| !seen.contains_key(event.as_str())) {
        let alike: Vec<&str> = strangers.iter().copied().filter(|it| is_misspelling(event, it)).collect();
        let Some(role) = roles.first().filter(|_| !alike.is_empty()) else { continue };
        let times: Vec<String> = alike.iter().map(|it| format!("{it} came {} times", seen[it])).collect();
        let step = step_of(role.role).map(|ix| saga.steps[ix].name.as_str());
        by_step
            .entry(step)
            .or_default()
            .push(format!("{event} was never seen, and {} that nothing names", times.join(", ")));
    }
    let observed = by_step.into_iter().map(|(step, clauses)| {
        let on = step.map(|step| format!(" in step `{step}`")).unwrap_or_default();
        let why = format!(
            "saga `{}` names what nobody publishes{on}: {}; mend the name, in the definition or in the service, before its deadlines \
             turn orders back",
            saga.name,
            clauses.join("; ")
        );
        let about = About::new(Cause::EventNeverSeen, &saga.name, step);
        Observed { about, count: 0, first_at: now, last_at: now, samples: Vec::new(), why }
    });
    observed.collect()
}

fn step_of(role: Role) -> Option<usize> {
    match role {
        Role::Done(ix)
        | Role::Failed(ix)
        | Role::When(ix)
        | Role::CompensationDone(ix)
        | Role::CompensationFailed(ix) => Some(ix),
        Role::Cancel => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::saga::parse::parse;

    fn met(event: &str, seen: u64) -> EventMet {
        EventMet { exchange: "shop".to_owned(), event: event.to_owned(), seen, last_at: Moment(7) }
    }

    fn found(met: &[EventMet]) -> Vec<(Option<String>, String)> {
        let text = "saga: order\nversion: 1\nread: { event: /e, order_id: /o }\nwatch: [{ exchange: shop }]\ncancelled_by: OrderCancelled\n\
            steps:\n  placed: { done: OrderPlaced }\n  paid: { after: placed, done: [PaymentProcessed, PaidByHand] }\n";
        let saga = parse("order.yaml", text).unwrap().saga;
        misspelt(&saga, met, Moment(9)).into_iter().map(|it| (it.about.step, it.why)).collect()
    }

    #[test]
    fn a_name_that_is_almost_like_one_that_comes_often_is_told() {
        let [(step, why)] = found(&[met("OrderPlaced", 90), met("payment.processed", 88)]).try_into().unwrap();
        assert_eq!(step.as_deref(), Some("paid"));
        assert!(why.contains("PaymentProcessed was never seen, and payment.processed came 88 times"), "{why}");
        assert!(!why.contains("PaidByHand"), "nothing is called like that: {why}");
        let [(step, _)] = found(&[met("OrderCanceled", 20)]).try_into().unwrap();
        assert_eq!(step, None, "it is about the order as a whole");
    }

    #[test]
    fn what_was_seen_even_once_or_is_like_nothing_or_came_rarely_is_not() {
        assert_eq!(found(&[met("PaymentProcessed", 1), met("payment.processed", 88)]), []);
        assert_eq!(found(&[met("payment.processed", 19)]), []);
        assert_eq!(found(&[met("StockCounted", 500), met("OrderReplaced", 500), met("", 500)]), []);
        assert_eq!(found(&[met("OrderRejected", 500), met("PaymentDeclined", 500)]), [], "alike, and two things");
    }
}
