//! What is observed now, as values the decision takes: from rows already read, and from memory.

use std::collections::{BTreeMap, BTreeSet};

use crate::saga::brake::SagaState;
use crate::saga::catalog::Catalog;
use crate::saga::definition::{Place, Within};
use crate::saga::incident::cause::Cause;
use crate::saga::incident::decide::Observed;
use crate::saga::incident::why::{self, Stall, Stuck};
use crate::saga::incident::{About, SAMPLES_MAX};
use crate::saga::order::StuckReason;
use crate::saga::time::{Moment, Span};
use crate::store::{QuarantineGrowth, StepStats, StuckGroup};

use super::acts::{Act, STALLED_MIN, WINDOW, What};
use super::heard::{FLOWS_WITHIN, Quiet};

/// More messages than this in [`WINDOW`] are a producer that broke something, not a message that did. A person looks at each one by
/// itself otherwise; the same number makes a step stall.
const QUARANTINE_MIN: u64 = 20;

/// A silence is told from this many times the time that nearly all answers take.
const SILENT_TIMES: f64 = 5.0;

/// What a look at the queue of a step's service found, as a clause: `queue inventory has no consumer and 312 messages`. By saga and
/// step; `None` where nothing is known.
pub type Findings = dyn Fn(&str, &str) -> Option<String> + Send + Sync;

/// A cause that is not about orders.
pub fn plain(cause: Cause, saga: &str, since: Moment, until: Moment, why: String) -> Observed {
    let about = About::new(cause, saga, None);
    Observed { about, count: 0, first_at: since, last_at: until, samples: Vec::new(), why }
}

/// The saga that is blind, if it is only one, and why.
pub fn blind_saga(catalog: &Catalog, troubled: &BTreeMap<String, String>) -> (String, String) {
    let sagas = catalog.watching().filter(|saga| {
        saga.watch
            .iter()
            .any(|watch| matches!(&watch.place, Place::Exchange { name, .. } if troubled.contains_key(name)))
    });
    let names: BTreeSet<&str> = sagas.map(|saga| saga.name.as_str()).collect();
    let only = names.iter().next().filter(|_| names.len() == 1).map(|name| (*name).to_owned());
    let each: Vec<String> =
        troubled.iter().map(|(exchange, problem)| format!("exchange {exchange}: {problem}")).collect();
    (only.unwrap_or_default(), each.join("; "))
}

/// The orders that are stuck, by what they are stuck on. What the brake of a saga holds is one, whatever the steps; while it is
/// latched there is one, even if nothing is held.
pub fn stuck(
    catalog: &Catalog,
    groups: Vec<StuckGroup>,
    states: &BTreeMap<String, SagaState>,
    findings: &Findings,
) -> Vec<Observed> {
    let latched = catalog.newest_all().filter(|saga| saga.brake.is_some()).filter_map(|saga| {
        let at = states.get(&saga.name)?.brake.latched_at?;
        Some((saga.name.clone(), at))
    });
    let empty = |(saga, at): (String, Moment)| {
        let reason = StuckReason::Held;
        let group = StuckGroup { saga, step: None, reason, count: 0, first_at: at, last_at: at, samples: Vec::new() };
        (group.saga.clone(), group)
    };
    let mut held: BTreeMap<String, StuckGroup> = latched.map(empty).collect();
    let mut all = Vec::new();
    for group in groups {
        if group.reason != StuckReason::Held {
            all.push(group);
        } else if let Some(one) = held.get_mut(&group.saga) {
            one.count += group.count;
            one.first_at = one.first_at.min(group.first_at);
            one.last_at = one.last_at.max(group.last_at);
            one.samples.extend(group.samples);
            one.samples.truncate(SAMPLES_MAX);
        } else {
            held.insert(group.saga.clone(), StuckGroup { step: None, ..group });
        }
    }
    all.extend(held.into_values());
    all.into_iter().map(|group| stuck_group(catalog, group, findings)).collect()
}

fn stuck_group(catalog: &Catalog, group: StuckGroup, findings: &Findings) -> Observed {
    let StuckGroup { saga, step, reason, count, first_at, last_at, samples } = group;
    let finding = step.as_deref().and_then(|step| findings(&saga, step));
    let said =
        Stuck { saga: &saga, step: step.as_deref(), reason, count, since: first_at, finding: finding.as_deref() };
    let why = why::stuck(catalog, said);
    let about = About::new(Cause::Stuck(reason), &saga, step.as_deref());
    Observed { about, count, first_at, last_at, samples, why }
}

/// Quarantine grows.
pub fn quarantine(growth: Vec<QuarantineGrowth>) -> Vec<Observed> {
    let much = growth.into_iter().filter(|it| it.messages > QUARANTINE_MIN);
    let observed = much.map(|it| {
        let of = if it.saga.is_empty() { String::new() } else { format!(" of saga `{}`", it.saga) };
        let why = format!(
            "{} messages{of} went to quarantine within the last {WINDOW}, since {}; look at them with `escrow quarantine list`, mend \
             the producer or the definition, then replay or drop them",
            it.messages, it.first_at
        );
        Observed { count: it.messages, ..plain(Cause::Quarantine, &it.saga, it.first_at, it.last_at, why) }
    });
    observed.collect()
}

/// The steps whose timeouts are many enough to look at what else came due on them.
pub fn may_be_stalled(groups: &BTreeMap<(&str, &What), Vec<&Act>>) -> Vec<(String, String, usize)> {
    let steps = groups.iter().filter(|(_, acts)| acts.len() >= STALLED_MIN);
    let named = steps.filter_map(|((saga, what), acts)| match what {
        What::TimedOut(step) => Some(((*saga).to_owned(), step.clone(), acts.len())),
        What::NeverOpened | What::Late { .. } => None,
    });
    named.collect()
}

/// What happened lately, where it needs a person. `stalled`: the steps that are.
pub fn acts(
    catalog: &Catalog,
    groups: &BTreeMap<(&str, &What), Vec<&Act>>,
    stalled: &BTreeSet<(String, String)>,
    findings: &Findings,
) -> Vec<Observed> {
    let mut late: BTreeMap<&str, Vec<&Act>> = BTreeMap::new();
    let mut all = Vec::new();
    for ((saga, what), acts) in groups {
        match what {
            What::Late { .. } => late.entry(saga).or_default().extend(acts),
            What::NeverOpened => all.extend(of_acts(Cause::NeverOpened, saga, None, acts, |orders, since| {
                format!(
                    "{orders} of saga `{saga}` were closed within the last {WINDOW}, since {since}: their beginning was never seen; they \
                     were under way when Escrow came, or an exchange is missing in `watch`"
                )
            })),
            What::TimedOut(step) if stalled.contains(&((*saga).to_owned(), step.clone())) => {
                let finding = findings(saga, step);
                let said = |since| {
                    let stall = Stall { saga, step, count: acts.len() as u64, since, finding: finding.as_deref() };
                    why::stalled(catalog, stall, WINDOW)
                };
                all.extend(of_acts(Cause::StepStalled, saga, Some(step), acts, |_, since| said(since)));
            }
            What::TimedOut(_) => {}
        }
    }
    for (saga, mut acts) in late {
        acts.sort_by_key(|act| act.at);
        all.extend(of_acts(Cause::LateOnEnded, saga, None, &acts, |orders, since| {
            format!(
                "an event came for {orders} of saga `{saga}` that had ended, since {since}: one that opens an order, or one for an order a \
                 person closed; nothing was done about it, look at its journal"
            )
        }));
    }
    all
}

fn of_acts(
    cause: Cause,
    saga: &str,
    step: Option<&str>,
    acts: &[&Act],
    why: impl FnOnce(String, Moment) -> String,
) -> Option<Observed> {
    let (first, last) = (acts.first()?, acts.last()?);
    let count = acts.len() as u64;
    Some(Observed {
        about: About::new(cause, saga, step),
        count,
        first_at: first.at,
        last_at: last.at,
        samples: acts.iter().take(SAMPLES_MAX).map(|act| act.key.order_id.clone()).collect(),
        why: why(why::orders(count), first.at),
    })
}

/// The services that are silent: longer than nearly all answers take, by far.
pub fn silent(
    catalog: &Catalog,
    quiet: Vec<Quiet>,
    stats: &BTreeMap<String, Vec<StepStats>>,
    findings: &Findings,
    now: Moment,
) -> Vec<Observed> {
    let silent = quiet.into_iter().filter(|it| {
        let usual = usual(catalog, stats, &it.saga, &it.step);
        usual.is_some_and(|usual| now.since(it.since) >= usual.max(FLOWS_WITHIN))
    });
    let observed = silent.map(|it| {
        let finding = findings(&it.saga, &it.step);
        let stall =
            Stall { saga: &it.saga, step: &it.step, count: it.count, since: it.since, finding: finding.as_deref() };
        let why = why::silent(catalog, stall, now.since(it.since));
        let about = About::new(Cause::ServiceSilent, &it.saga, Some(&it.step));
        Observed { about, count: it.count, first_at: it.since, last_at: it.last_at, samples: it.samples, why }
    });
    observed.collect()
}

/// After which an answer is unusually late: by what was measured, else by what the definition gives it. `None`: nobody can say.
fn usual(catalog: &Catalog, stats: &BTreeMap<String, Vec<StepStats>>, saga: &str, step: &str) -> Option<Span> {
    let measured = stats.get(saga).into_iter().flatten().find(|it| it.step == step);
    let given = || {
        let saga = catalog.newest(saga)?;
        match saga.steps.get(saga.step_ix(step)?)?.within.as_ref()? {
            Within::Fixed(span) => Some(*span),
            Within::Computed(_) => None,
        }
    };
    measured.map(|it| it.p99.scaled(SILENT_TIMES)).or_else(given)
}
