//! The watermark: the moment up to which everything that was published is known to be applied.
//!
//! A saga's watermark is the least of: the tap's, by the canary that came back last; for each watched exchange that is
//! absent, the last look that found it so; and, for a saga fed over HTTP, now while events have been accepted without a
//! break. What cannot be vouched for holds it where it was, and deadlines wait behind it.
//!
//! [`Pulse`] sends the canaries: when the earliest deadline comes due, else every 5 s.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;

use crate::bus::Tap;
use crate::faults::{Bug, Step as _, is_planted};
use crate::saga::batch::NewDoubt;
use crate::saga::catalog::Catalog;
use crate::saga::definition::{Place, Saga};
use crate::saga::time::{Moment, Span};
use crate::store::{BindingRow, TapRow};

use super::looks::exchanges;
use super::{Escrow, Ran, Worker, WorkerError};

/// Canaries go out at least this often.
const CANARY_EVERY: Span = Span::from_secs(5);

/// What the store knows HTTP ingest by.
pub const HTTP: &str = "http";

/// A pause in accepting longer than this is a break.
pub const HTTP_PAUSE_MAX: Span = Span::from_secs(5);

/// After a break, producers are given this long to send again what they could not.
const HTTP_SETTLED_AFTER: Span = Span::from_secs(60);

/// That a saga is fed over HTTP is stored this often.
const HTTP_STORED_EVERY: Span = Span::from_secs(3600);

/// Which sagas others take events for is read this often, in runs of a second.
const OTHERS_EVERY_RUNS: u64 = 30;

/// A saga counts as fed over HTTP for this long after an event.
const HTTP_SEEN_FOR: Span = Span::from_secs(86_400);

/// Computes watermarks from what the store holds.
pub struct Watermarks {
    /// Name of the tap; `None` without a bus.
    tap: Option<String>,
    /// When each saga last had an event over HTTP.
    over_http: Mutex<BTreeMap<String, Moment>>,
    /// As last read: for answers that must not wait.
    last: Mutex<Option<Arc<Known>>>,
}

/// The watermarks at one moment.
#[derive(Clone, Debug)]
pub struct Known {
    pub now: Moment,
    pub tap: Option<TapRow>,
    pub bindings: Vec<BindingRow>,
    /// Sagas without an entry have no watermark yet: nothing of theirs fires.
    pub by_saga: BTreeMap<String, Moment>,
}

impl Watermarks {
    /// Watermarks over this tap.
    pub fn new(tap: Option<String>) -> Self {
        Self { tap, over_http: Mutex::default(), last: Mutex::default() }
    }

    /// The row in which a saga's last event over HTTP is remembered.
    pub fn http_row(saga: &str) -> String {
        format!("{HTTP}:{saga}")
    }

    /// A saga had an event over HTTP. Answers whether that should be stored: it was not known, or is an hour old.
    pub fn seen_over_http(&self, saga: &str, at: Moment) -> bool {
        let mut over_http = self.over_http.lock().unwrap_or_else(PoisonError::into_inner);
        let previous = over_http.get(saga).copied();
        let is_news = previous.is_none_or(|previous| at.since(previous) > HTTP_STORED_EVERY);
        if is_news {
            over_http.insert(saga.to_owned(), at);
        }
        is_news
    }

    /// Reads from the store which sagas are fed over HTTP.
    ///
    /// # Errors
    /// The store cannot be read now.
    pub async fn load_over_http(&self, escrow: &Escrow) -> Result<(), WorkerError> {
        let sagas: Vec<String> = escrow.catalog().newest_all().map(|saga| saga.name.clone()).collect();
        for saga in sagas {
            if let Some(at) =
                escrow.store.tap(Self::http_row(&saga)).at("watermark.fed_over_http").await?.accepting_until
            {
                self.seen_over_http(&saga, at);
            }
        }
        Ok(())
    }

    /// The watermarks now.
    ///
    /// # Errors
    /// The store cannot be read now.
    pub async fn read(&self, escrow: &Escrow) -> Result<Arc<Known>, WorkerError> {
        let http = escrow.store.tap(HTTP.to_owned()).at("watermark.http_row").await?;
        let (tap, bindings) = match &self.tap {
            Some(name) => {
                let row = escrow.store.tap(name.clone()).at("watermark.tap_row").await?;
                (Some(row), escrow.store.bindings(name.clone()).at("watermark.bindings").await?)
            }
            None => (None, Vec::new()),
        };
        let catalog = escrow.catalog();
        let over_http = self.over_http.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let now = tap.as_ref().map_or(http.now, |row| row.now);
        let view = Seen { now, tap: tap.as_ref(), bindings: &bindings, http: &http, over_http: &over_http };
        let by_saga = catalog
            .newest_all()
            .filter_map(|saga| Some((saga.name.clone(), view.watermark_of(escrow, &catalog, &saga.name)?)))
            .collect();
        if let Some(watermark) = tap.as_ref().and_then(|row| row.watermark) {
            escrow.sight.stored(watermark);
        }
        let known = Arc::new(Known { now, tap, bindings, by_saga });
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&known));
        Ok(known)
    }

    /// The watermarks as last read, at most a second ago.
    pub fn last(&self) -> Option<Arc<Known>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

struct Seen<'a> {
    now: Moment,
    tap: Option<&'a TapRow>,
    bindings: &'a [BindingRow],
    http: &'a TapRow,
    over_http: &'a BTreeMap<String, Moment>,
}

impl Seen<'_> {
    fn watermark_of(&self, escrow: &Escrow, catalog: &Catalog, saga: &str) -> Option<Moment> {
        let mut least = self.now;
        let opens = catalog.newest(saga).map_or(u32::MAX, |newest| newest.version);
        // A version that is held back here may have orders of another replica once all its exchanges are known.
        let counts = |version: &&Arc<Saga>| {
            version.version <= opens
                || exchanges(version).all(|name| self.bindings.iter().any(|row| row.exchange == name))
        };
        let versions = catalog.watching().filter(|version| version.name == saga);
        for watch in versions.filter(counts).flat_map(|version| &version.watch) {
            match &watch.place {
                Place::Exchange { name, .. } => {
                    if self.tap.is_some() {
                        least = least.min(self.exchange(name)?);
                    }
                    if escrow.sight.is_unreadable(name) {
                        return None;
                    }
                }
                Place::Http => {}
            }
        }
        let fed = self.over_http.get(saga).is_some_and(|at| self.now.since(*at) < HTTP_SEEN_FOR);
        if fed {
            least = least.min(http_watermark(self.http, self.now));
        }
        Some(least)
    }

    /// Up to when all that was published to an exchange is known.
    fn exchange(&self, name: &str) -> Option<Moment> {
        let row = self.bindings.iter().find(|row| row.exchange == name)?;
        // One that lies ahead is from before the clock was set back. It says nothing of what is published now.
        let applied = self.tap.and_then(|tap| tap.watermark).filter(|watermark| *watermark <= self.now);
        match (row.bound, &row.problem) {
            (true, None) => applied,
            (true, Some(_)) => applied.min(row.bound_at),
            // Nothing can have been published to what is not there.
            (false, None) if is_planted(Bug::AbsenceIgnored) => applied.or(row.absent_at),
            (false, None) => match applied {
                Some(applied) => Some(applied).min(row.absent_at),
                None => row.absent_at,
            },
            (false, Some(_)) => None,
        }
    }
}

/// Now, while events have been accepted for a minute without a break; else the moment the break began.
fn http_watermark(row: &TapRow, now: Moment) -> Moment {
    let Some((since, until)) = row.accepting_since.zip(row.accepting_until) else { return now };
    if now.since(until) > HTTP_PAUSE_MAX {
        return until;
    }
    match row.break_began {
        Some(began) if now.since(since) < HTTP_SETTLED_AFTER => began,
        Some(_) | None => now,
    }
}

/// Sends canaries through the tap; without a tap, wakes the deadlines when one comes due.
pub struct Pulse {
    escrow: Arc<Escrow>,
    tap: Option<Arc<dyn Tap>>,
    last_sent: Option<Moment>,
}

impl Pulse {
    /// A pulse through this tap.
    pub fn new(escrow: Arc<Escrow>, tap: Option<Arc<dyn Tap>>) -> Self {
        Self { escrow, tap, last_sent: None }
    }

    /// A stored watermark earlier than one seen before: the database lost commits. A gap from there to now. Whether it was so.
    async fn notice_loss(&self, row: &TapRow) -> Result<bool, WorkerError> {
        // Recorded first: only then is the later one forgotten.
        let remembered = self.escrow.sight.remembered();
        let is_lost = row.watermark < remembered;
        if is_lost {
            let lost = NewDoubt::lost_commits(row.watermark, row.now);
            tracing::error!(stored = ?row.watermark, seen = ?remembered, "the database holds an earlier watermark than it did");
            self.escrow.store.record_doubts(vec![lost]).at("pulse.record_loss").await?;
        }
        self.escrow.sight.remember(row.watermark);
        Ok(is_lost)
    }

    async fn beat(&mut self, tap: &Arc<dyn Tap>) -> Result<Ran, WorkerError> {
        let row = self.escrow.store.tap(tap.name().to_owned()).at("pulse.tap_row").await?;
        if self.notice_loss(&row).await? {
            // Read anew: a canary from before the gap was recorded would not show that what comes now is not in it.
            return Ok(Ran::Did);
        }
        // What was sent at a time that has not come is from before the clock was set back.
        self.last_sent = self.last_sent.filter(|sent| *sent <= row.now);
        let next_due = self.escrow.store.next_due(self.last_sent).at("pulse.next_due").await?;
        let next_beat = self.last_sent.map_or(row.now, |sent| sent + CANARY_EVERY);
        let is_out = self.escrow.sight.canary_out().is_some_and(|out| row.now.since(out) < CANARY_EVERY);
        let next = match next_due {
            // With one on its way, another is sent when it comes back: no flood of canaries into a backlog.
            Some(due) if !is_out => due.min(next_beat),
            Some(_) | None => next_beat,
        };
        if next <= row.now {
            let sent_at = if is_planted(Bug::NodeClock) { row.now + Span::from_secs(20) } else { row.now };
            self.last_sent = Some(sent_at);
            self.escrow.sight.canary_sent(sent_at);
            tap.send_canary(sent_at, row.watermark).at("pulse.send_canary").await?;
            return Ok(Ran::Did);
        }
        Ok(self.sleep_until(next, row.now))
    }

    async fn wake_deadlines(&mut self) -> Result<Ran, WorkerError> {
        let now = self.escrow.store.now().at("pulse.now_without_tap").await?;
        let next = self.escrow.store.next_due(self.last_sent).at("pulse.next_due_without_tap").await?;
        let next = next.unwrap_or(now + CANARY_EVERY);
        if next <= now {
            self.last_sent = Some(now);
            self.escrow.nudges.watermark.notify_one();
            return Ok(Ran::Did);
        }
        Ok(self.sleep_until(next.min(now + CANARY_EVERY), now))
    }

    fn sleep_until(&self, next: Moment, now: Moment) -> Ran {
        self.escrow.nudges.sleeping_for.store(next.0, Ordering::Release);
        // The database's clock has microseconds, the timer milliseconds: waking a little late saves a run for nothing.
        let pause = next.min(now + CANARY_EVERY).since(now).as_std();
        Ran::Idle(pause + Duration::from_micros(200))
    }
}

impl Worker for Pulse {
    fn name(&self) -> &'static str {
        "pulse"
    }

    fn run_once(&mut self) -> BoxFuture<'_, Result<Ran, WorkerError>> {
        Box::pin(async move {
            match self.tap.clone() {
                Some(tap) => self.beat(&tap).await,
                None => self.wake_deadlines().await,
            }
        })
    }

    fn nudged(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.escrow.nudges.armed.notified())
    }
}

/// Says, again and again, that events over HTTP are being accepted: a silence of this is a break. Now and then it reads which
/// sagas other replicas take events for.
pub struct Accepting {
    escrow: Arc<Escrow>,
    watermarks: Arc<Watermarks>,
    runs: u64,
}

impl Accepting {
    /// For this process's API.
    pub fn new(escrow: Arc<Escrow>, watermarks: Arc<Watermarks>) -> Self {
        Self { escrow, watermarks, runs: 0 }
    }
}

impl Worker for Accepting {
    fn name(&self) -> &'static str {
        "accepting"
    }

    fn run_once(&mut self) -> BoxFuture<'_, Result<Ran, WorkerError>> {
        Box::pin(async move {
            let said = self.escrow.store.accepting(HTTP.to_owned(), HTTP_PAUSE_MAX).at("accepting.write").await;
            self.escrow.sight.wrote("accepting", said.as_ref().err());
            said?;
            self.runs += 1;
            if self.runs.is_multiple_of(OTHERS_EVERY_RUNS) {
                self.watermarks.load_over_http(&self.escrow).await?;
            }
            Ok(Ran::Idle(Duration::from_secs(1)))
        })
    }

    fn nudged(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::pending())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(since: i64, until: i64, began: Option<i64>) -> TapRow {
        let at = |seconds: i64| Moment(seconds * 1_000_000);
        TapRow {
            name: HTTP.to_owned(),
            watermark: None,
            committed_at: None,
            accepting_since: Some(at(since)),
            accepting_until: Some(at(until)),
            break_began: began.map(at),
            now: at(0),
        }
    }

    #[test]
    fn events_over_http_hold_the_watermark_for_a_minute_after_a_break() {
        let now = Moment(1_000_000_000);
        let seconds = |seconds: i64| Moment(seconds * 1_000_000);
        assert_eq!(http_watermark(&row(990, 999, None), now), now, "there never was a break");
        assert_eq!(http_watermark(&row(990, 999, Some(700)), now), seconds(700), "the break is too fresh");
        assert_eq!(http_watermark(&row(900, 999, Some(700)), now), now, "the break is settled");
        assert_eq!(http_watermark(&row(900, 980, Some(700)), now), seconds(980), "a break goes on");
    }
}
