//! What happened to orders lately, from the journal: steps that timed out, orders closed without a beginning, and what came late for
//! orders that had ended.
//!
//! Only these entries are read, by an index that leaves the many events out, and each of them once: the last few seconds are read again,
//! because entries become visible a moment after the time they bear.

use std::collections::BTreeMap;

use crate::saga::catalog::Catalog;
use crate::saga::definition::OnTimeout;
use crate::saga::journal::{EntryBody, Kind};
use crate::saga::order::{OrderKey, StepStatus};
use crate::saga::time::{Moment, Span};
use crate::store::{JournalFilter, JournalRow};

/// How far back "lately" is: some minutes, so that a stall is neither a moment's hiccup nor last night's.
pub const WINDOW: Span = Span::from_secs(300);

/// Entries become visible this much after the moment they bear, at most: a transaction takes no longer.
const SEEN_WITHIN: Span = Span::from_secs(10);

/// Acts remembered; past this, the oldest are forgotten and counts are too low.
const REMEMBERED_MAX: usize = 100_000;

/// Fewer timeouts of a step are single orders.
pub const STALLED_MIN: usize = 20;

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Act {
    pub at: Moment,
    pub key: OrderKey,
    pub what: What,
}

/// What it was.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum What {
    /// A step after which the order goes on timed out.
    TimedOut(String),
    NeverOpened,
    /// An event came late. Whether that needs a person depends on where its order stands.
    Late {
        opening: bool,
    },
}

/// What happened within [`WINDOW`].
#[derive(Debug, Default)]
pub struct Acts {
    read_up_to: Option<Moment>,
    by_position: BTreeMap<i64, Act>,
}

impl Acts {
    /// What to read next.
    pub fn wanted(&self, now: Moment) -> JournalFilter {
        let begin = now - WINDOW;
        let since = self.read_up_to.map_or(begin, |at| begin.max(at - SEEN_WITHIN));
        JournalFilter { kinds: vec![Kind::Deadline, Kind::Late], since: Some(since), ..JournalFilter::default() }
    }

    /// Takes what was read, and gives what of it is new.
    pub fn read(&mut self, catalog: &Catalog, rows: &[JournalRow], now: Moment) -> Vec<(i64, Act)> {
        self.read_up_to = Some(now);
        self.by_position.retain(|_, act| now.since(act.at) < WINDOW);
        let fresh = rows.iter().filter(|row| !self.by_position.contains_key(&row.position));
        fresh.filter_map(|row| Some((row.position, act(catalog, row)?))).collect()
    }

    /// Remembers acts that matter.
    pub fn remember(&mut self, acts: impl IntoIterator<Item = (i64, Act)>) {
        self.by_position.extend(acts);
        while self.by_position.len() > REMEMBERED_MAX {
            self.by_position.pop_first();
        }
    }

    /// All of them by saga and what they are, oldest first.
    pub fn groups(&self) -> BTreeMap<(&str, &What), Vec<&Act>> {
        let mut groups: BTreeMap<(&str, &What), Vec<&Act>> = BTreeMap::new();
        for act in self.by_position.values() {
            groups.entry((act.key.saga.as_str(), &act.what)).or_default().push(act);
        }
        groups
    }
}

fn act(catalog: &Catalog, row: &JournalRow) -> Option<Act> {
    let body: EntryBody = serde_json::from_str(&row.text).ok()?;
    let saga = catalog.version(&row.key.saga, row.version)?;
    let what = match row.kind {
        Kind::Late => {
            let roots = saga.steps.iter().enumerate().filter(|(ix, _)| saga.is_root(*ix));
            let name = body.name.as_ref()?;
            let opening = roots.flat_map(|(_, step)| &step.done).any(|done| done.event == *name);
            What::Late { opening }
        }
        Kind::Deadline if body.name.as_deref() == Some("never_opened") && body.step.is_none() => What::NeverOpened,
        Kind::Deadline => {
            let change = body.steps.iter().find(|change| Some(change.step) == body.step)?;
            let step = saga.steps.get(change.step)?;
            let goes_on = match step.on_timeout {
                OnTimeout::Compensate | OnTimeout::Skip => true,
                OnTimeout::Alert => false,
            };
            let timed_out = change.from == StepStatus::Waiting && change.now.status != StepStatus::Waiting;
            (goes_on && timed_out).then(|| What::TimedOut(step.name.clone()))?
        }
        Kind::Event
        | Kind::Retry
        | Kind::Withheld
        | Kind::Compensation
        | Kind::Confirmation
        | Kind::WouldSend
        | Kind::Command
        | Kind::Repeated
        | Kind::Conflict => return None,
    };
    Some(Act { at: row.at, key: row.key.clone(), what })
}

/// Whether at least half of what came due on a step timed out: `timeouts` within [`WINDOW`], held against how often the newest
/// events closed it well.
pub fn is_stalled(
    catalog: &Catalog,
    step: &str,
    timeouts: usize,
    newest: &[JournalRow],
    was_full: bool,
    now: Moment,
) -> bool {
    let closes = |row: &&JournalRow| {
        let body: Option<EntryBody> = serde_json::from_str(&row.text).ok();
        let ix = catalog.version(&row.key.saga, row.version).and_then(|saga| saga.step_ix(step));
        let changes = body.map(|body| body.steps).unwrap_or_default();
        changes
            .iter()
            .any(|it| Some(it.step) == ix && it.from == StepStatus::Waiting && it.now.status == StepStatus::Done)
    };
    let closed = i64::try_from(newest.iter().filter(closes).count()).unwrap_or(i64::MAX);
    let oldest = newest.iter().map(|row| row.at).min().filter(|_| was_full);
    let span = oldest.map_or(WINDOW, |at| Span(now.since(at).0.max(1)));
    let timeouts = i64::try_from(timeouts).unwrap_or(i64::MAX);
    i128::from(timeouts) * i128::from(span.0) >= i128::from(closed) * i128::from(WINDOW.0)
}
