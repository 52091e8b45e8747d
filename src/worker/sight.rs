//! How well Escrow sees: lag, canaries, unreadable shares, events over HTTP. Rule 6's `behind` and `blind`.
//!
//! In memory only. What it costs to lose it is a moment of caution after a restart.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::chain_of;
use crate::saga::time::{Moment, Span};
use crate::store::StoreError;

/// Neither a commit nor a canary for this long: blind.
const BLIND_AFTER: Span = Span::from_secs(15);

/// A watermark further ahead of the clock than this is told.
const CLOCK_MAY_DIFFER: Span = Span::from_secs(1);

/// Of this many last messages of an exchange …
const READING_WINDOW: usize = 1000;

/// … more than this share unreadable makes the exchange one Escrow is blind on: one in so many.
const UNREADABLE_ONE_IN: usize = 100;

/// A write that failed longer ago than this says nothing any more: whoever still fails tries more often.
const REFUSAL_COUNTS_FOR: Duration = Duration::from_secs(15);

/// What is known about the view.
#[derive(Debug, Default)]
pub struct Sight {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    watching_since: Option<Moment>,
    last_commit: Option<Moment>,
    last_canary: Option<Moment>,
    canary_out: Option<Moment>,
    /// When the view was first asked for.
    asked_since: Option<Moment>,
    readings: BTreeMap<String, VecDeque<bool>>,
    problems: BTreeMap<String, String>,
    lag: Option<Span>,
    /// Who could not write when he last tried, when, and why.
    refusals: BTreeMap<&'static str, (Instant, String)>,
    /// The latest watermark this process has seen stored.
    remembered: Option<Moment>,
    /// Since when a person has the tap unbound, and in whose words.
    switched_off: Option<(Moment, String)>,
}

/// How well Escrow sees, in one word and with the reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum View {
    Clear,
    /// A canary is out and batches commit: deadlines wait.
    Behind,
    Blind(String),
}

impl Sight {
    fn with<T>(&self, change: impl FnOnce(&mut Inner) -> T) -> T {
        change(&mut self.inner.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The tap is watched from now on.
    pub fn watching(&self, now: Moment) {
        self.with(|inner| inner.watching_since = inner.watching_since.or(Some(now)));
    }

    /// A batch was committed.
    pub fn committed(&self, now: Moment, canary: Option<Moment>) {
        self.with(|inner| {
            inner.last_commit = Some(now);
            if let Some(sent_at) = canary {
                inner.last_canary = Some(now);
                inner.lag = Some(now.since(sent_at));
                if inner.canary_out.is_some_and(|out| out <= sent_at) {
                    inner.canary_out = None;
                }
            }
        });
    }

    /// A canary went out.
    pub fn canary_sent(&self, at: Moment) {
        self.with(|inner| inner.canary_out = inner.canary_out.or(Some(at)));
    }

    /// Whether a canary is on its way, since when.
    pub fn canary_out(&self) -> Option<Moment> {
        self.with(|inner| inner.canary_out)
    }

    /// How far the tap lagged when the last canary came back.
    pub fn lag(&self) -> Option<Span> {
        self.with(|inner| inner.lag)
    }

    /// The watermark that was stored when this process last looked. Stored earlier than that, the database lost commits.
    pub fn remembered(&self) -> Option<Moment> {
        self.with(|inner| inner.remembered)
    }

    /// This watermark is stored; `None`: what was stored is no measure any more.
    pub fn remember(&self, watermark: Option<Moment>) {
        self.with(|inner| inner.remembered = watermark);
    }

    /// Somebody wrote to the database, or could not. It may well answer and take nothing: a standby, a full disk.
    pub fn wrote(&self, who: &'static str, error: Option<&StoreError>) {
        self.with(|inner| match error {
            Some(error @ StoreError::Unavailable(_)) => {
                drop(inner.refusals.insert(who, (Instant::now(), chain_of(error))));
            }
            Some(_) | None => drop(inner.refusals.remove(who)),
        });
    }

    /// Why the database takes no writes, while it takes none.
    pub fn refusal(&self) -> Option<String> {
        self.with(|inner| {
            inner.refusals.retain(|_, (at, _)| at.elapsed() < REFUSAL_COUNTS_FOR);
            inner.refusals.values().next().map(|(_, why)| why.clone())
        })
    }

    /// One message of an exchange could, or could not, be read.
    pub fn read(&self, exchange: &str, readable: bool) {
        self.with(|inner| {
            let window = inner.readings.entry(exchange.to_owned()).or_default();
            if window.len() == READING_WINDOW {
                window.pop_front();
            }
            window.push_back(readable);
        });
    }

    /// Whether too much of what an exchange carries cannot be read.
    pub fn is_unreadable(&self, exchange: &str) -> bool {
        self.with(|inner| inner.readings.get(exchange).is_some_and(too_much))
    }

    /// The exchanges that cannot be seen or read, each with the reason.
    pub fn troubled(&self) -> BTreeMap<String, String> {
        self.with(|inner| {
            let unreadable = inner.readings.iter().filter(|(_, window)| too_much(window));
            let unreadable = unreadable
                .map(|(exchange, _)| (exchange.clone(), "too many of its messages cannot be read".to_owned()));
            unreadable.chain(inner.problems.clone()).collect()
        })
    }

    /// A look at an exchange was refused (`Some`) or went well.
    pub fn looked(&self, exchange: &str, problem: Option<String>) {
        self.with(|inner| match problem {
            Some(problem) => inner.problems.insert(exchange.to_owned(), problem),
            None => inner.problems.remove(exchange),
        });
    }

    /// The tap is unbound by a person (`Some`: since when, and why), or is not.
    pub fn switched_off(&self, since: Option<(Moment, String)>) {
        self.with(|inner| inner.switched_off = since);
    }

    /// Since when, and why, a person has the tap unbound.
    pub fn is_switched_off(&self) -> Option<(Moment, String)> {
        self.with(|inner| inner.switched_off.clone())
    }

    /// A watermark is stored: canaries sent up to then came back, to this replica or to another.
    pub fn stored(&self, watermark: Moment) {
        self.with(|inner| inner.canary_out = inner.canary_out.filter(|out| *out > watermark));
    }

    /// How well Escrow sees now. `consuming`: a consumer stands on the tap, here or in another replica. `stored`: the stored
    /// watermark; while it moves, the replica that holds the tap is well.
    pub fn view(&self, now: Moment, consuming: bool, stored: Option<Moment>) -> View {
        self.with(|inner| {
            let asked_since = *inner.asked_since.get_or_insert(now);
            if let Some((_, why)) = &inner.switched_off {
                return View::Blind(format!("the tap is {why}"));
            }
            if let Some((exchange, problem)) = inner.problems.iter().next() {
                return View::Blind(format!("exchange {exchange}: {problem}"));
            }
            if let Some((exchange, _)) = inner.readings.iter().find(|(_, window)| too_much(window)) {
                return View::Blind(format!("too many messages of exchange {exchange} cannot be read"));
            }
            if let Some(ahead) = stored.filter(|stored| *stored > now + CLOCK_MAY_DIFFER) {
                return View::Blind(format!(
                    "the database's clock was set back: deadlines wait {} until it has caught up with the watermark",
                    ahead.since(now)
                ));
            }
            let signs = [inner.last_commit, inner.last_canary, inner.watching_since, stored];
            let last = signs.into_iter().flatten().max().unwrap_or(asked_since).max(asked_since);
            if now.since(last) > BLIND_AFTER {
                let why = if consuming { "nothing came through the tap" } else { "no consumer on the tap" };
                return View::Blind(format!("{why} for {}", now.since(last)));
            }
            match inner.canary_out {
                Some(out) if now.since(out) > Span::from_secs(1) => View::Behind,
                Some(_) | None => View::Clear,
            }
        })
    }
}

fn too_much(window: &VecDeque<bool>) -> bool {
    let unreadable = window.iter().filter(|readable| !**readable).count();
    unreadable > READING_WINDOW / UNREADABLE_ONE_IN && unreadable * UNREADABLE_ONE_IN > window.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Moment {
        Moment(seconds * 1_000_000)
    }

    #[test]
    fn a_replica_that_stands_by_sees_by_what_the_other_stores() {
        let sight = Sight::default();
        assert_eq!(sight.view(at(0), true, None), View::Clear);
        sight.canary_sent(at(1));
        assert_eq!(sight.view(at(3), true, None), View::Behind);
        sight.stored(at(1));
        assert_eq!(sight.view(at(20), true, Some(at(18))), View::Clear, "its canary came back to the other");
        assert!(matches!(sight.view(at(40), true, Some(at(18))), View::Blind(_)));
    }

    #[test]
    fn a_database_that_takes_no_writes_is_told_until_it_takes_one() {
        let sight = Sight::default();
        let away = || StoreError::Unavailable(sqlx::Error::PoolTimedOut);
        sight.wrote("a", Some(&away()));
        sight.wrote("b", None);
        assert!(sight.refusal().is_some(), "another's success is not one's own");
        sight.wrote("a", None);
        assert_eq!(sight.refusal(), None);
        sight.wrote("a", Some(&StoreError::Corrupt("one row".to_owned())));
        assert_eq!(sight.refusal(), None, "that is not the database's");
    }

    #[test]
    fn a_tap_that_never_opened_is_blindness() {
        let sight = Sight::default();
        assert_eq!(sight.view(at(0), false, Some(at(-900))), View::Clear, "it has only begun");
        assert_eq!(sight.view(at(16), false, None), View::Blind("no consumer on the tap for 16s".to_owned()));
    }
}
