//! Keeps incidents true: looks at what is stuck, silent or away, decides, and saves what changed with what is to be told of it.
//!
//! ```text
//!   store    stuck orders, brakes, quarantine, what timed out lately ─┐
//!   memory   sight, connections, which steps are heard of ────────────┼─▶ decide ─▶ rows of incidents and notices, one transaction
//!   store    the incidents that are open ─────────────────────────────┘
//! ```
//!
//! One replica does it, by a lease that it holds while it saves: the one that reads the tap, for it hears everything. A replica that
//! stands by leaves it to that one, and takes over once nobody reads. What is in memory is lost with the process; an open incident that
//! rests on it stays open until enough is known again.

mod acts;
pub mod heard;
mod observing;
mod outages;
mod unseen;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::time::Instant;
use uuid::Uuid;

use crate::bus::Tap;
use crate::faults::Step as _;
use crate::saga::catalog::Catalog;
use crate::saga::incident::cause::Cause;
use crate::saga::incident::decide::{Knobs, Observed, Seen, Standing, decide};
use crate::saga::incident::{About, Routes};
use crate::saga::order::Status;
use crate::saga::time::{Moment, Span};
use crate::store::{INCIDENTS_LEASE, JournalFilter, Page, StoreError};

use self::acts::{Act, Acts, What};
use self::outages::{AWAY_AFTER, BLIND_AFTER, Failures, Outage};
use super::sight::View;
use super::watermark::Watermarks;
use super::{Escrow, Ran, Worker, WorkerError, chain_of};

/// How often to look without a nudge; people see what is stuck as soon as that.
const EVERY: Duration = Duration::from_secs(1);

/// Nudges come with every batch that leaves an order stuck: looks lie at least this far apart.
const PAUSE_MIN: Duration = Duration::from_millis(250);

/// A look may take one part in so many of the time, when a hundred thousand orders are stuck …
const TIMES_ITS_COST: u32 = 10;

/// … but people do not wait longer than this.
const PAUSE_MAX: Duration = Duration::from_secs(15);

/// A replica that dies is replaced within this; nobody notices on a page that is looked at every few seconds.
const LEASE: Span = Span::from_secs(5);

/// Renewed well before it ends.
const RENEW_AFTER: Duration = Duration::from_secs(2);

/// What changes slowly (the journal's acts, quarantine) is read this often.
const SLOWLY: Duration = Duration::from_secs(2);

/// A misspelt name is found this soon.
const UNSEEN_EVERY: Duration = Duration::from_secs(30);

/// A process that has not run for this long may not have heard of a step yet.
const UNSURE_FOR: Duration = Duration::from_mins(10);

/// Acts read in one query, and how many queries one run may take: what is left comes with the next run.
const ACTS_PAGE: usize = 1_000;
const ACTS_PAGES_MAX: usize = 20;

/// The newest events that timeouts are held against.
const EVENTS_SAMPLED: usize = 500;

/// What the loop is made of, beside the store.
pub struct Parts {
    pub watermarks: Arc<Watermarks>,
    pub tap: Option<Arc<dyn Tap>>,
    pub routes: Arc<dyn Routes>,
    pub knobs: Knobs,
    /// Names the holder of the lease: whoever stops gives it back with [`let_go`].
    pub owner: Uuid,
}

/// Keeps incidents true.
pub struct Incidents {
    escrow: Arc<Escrow>,
    parts: Parts,
    began: Instant,
    leased_at: Option<Instant>,
    acts: Acts,
    /// As last read, every [`SLOWLY`].
    slow: Vec<Observed>,
    slow_at: Option<Instant>,
    /// As last read, every [`UNSEEN_EVERY`].
    unseen: Vec<Observed>,
    unseen_at: Option<Instant>,
    broker: Outage,
    blind: Outage,
    database: Failures,
    /// The database was away: to be written down.
    was_away: Option<Observed>,
    /// Not to look again before.
    rest_until: Option<Instant>,
}

/// Gives the lease back: another replica need not wait for its end.
///
/// # Errors
/// The store cannot be written now; the lease ends by itself.
pub async fn let_go(escrow: &Escrow, owner: Uuid) -> Result<(), StoreError> {
    escrow.store.lease(INCIDENTS_LEASE.to_owned(), owner, Span(0)).await.map(drop)
}

impl Incidents {
    /// A loop over all sagas.
    pub fn new(escrow: Arc<Escrow>, parts: Parts) -> Self {
        Self {
            escrow,
            parts,
            began: Instant::now(),
            leased_at: None,
            acts: Acts::default(),
            slow: Vec::new(),
            slow_at: None,
            unseen: Vec::new(),
            unseen_at: None,
            broker: Outage::default(),
            blind: Outage::default(),
            database: Failures::default(),
            was_away: None,
            rest_until: None,
        }
    }

    /// Whether this process is the one to judge: it reads the tap, or sees by itself that nobody can.
    fn is_judge(&self, remembered: &[Observed]) -> bool {
        self.parts.tap.as_ref().is_none_or(|tap| tap.health().consuming) || !remembered.is_empty()
    }

    fn view(&self, now: Moment) -> View {
        let Some(tap) = &self.parts.tap else { return View::Clear };
        let stored = self.parts.watermarks.last().and_then(|known| known.tap.as_ref()?.watermark);
        self.escrow.sight.view(now, tap.health().consuming, stored)
    }

    async fn has_lease(&mut self) -> Result<bool, StoreError> {
        if self.leased_at.is_some_and(|at| at.elapsed() < RENEW_AFTER) {
            return Ok(true);
        }
        let lease = self.escrow.store.lease(INCIDENTS_LEASE.to_owned(), self.parts.owner, LEASE);
        let is_held = lease.at("incidents.lease").await?;
        self.leased_at = is_held.then(Instant::now);
        Ok(is_held)
    }

    async fn look(&mut self) -> Result<(), StoreError> {
        let now = self.escrow.store.now().at("incidents.now").await?;
        let view = self.view(now);
        // Noted by every replica, also by one that only stands by.
        let remembered = self.remembered(&view, now);
        if !self.is_judge(&remembered) || !self.has_lease().await? {
            (self.leased_at, self.was_away) = (None, None);
            drop(self.database.went_well(now));
            return Ok(());
        }
        self.note_return(now);
        let open = self.escrow.store.open_incidents().at("incidents.open").await?;
        let mut seen = self.stored(now).await?;
        seen.observed.extend(remembered);
        seen.observed.extend(self.was_away.clone());
        if view == View::Clear {
            seen.observed.extend(self.silent(now).await?);
        }
        seen.unjudged = self.unjudged(&open, &view);
        self.save(&open, seen, now).await
    }

    async fn save(&mut self, open: &[Standing], seen: Seen, now: Moment) -> Result<(), StoreError> {
        let known: BTreeSet<&About> = open.iter().map(|it| &it.incident.about).collect();
        let new = seen.observed.iter().map(|it| &it.about).filter(|about| !known.contains(about));
        let new: Vec<String> = new.map(About::id).collect();
        let mut episodes = BTreeMap::new();
        if !new.is_empty() {
            episodes = self.escrow.store.last_episodes(new).await?;
        }
        let changes = decide(open, &episodes, seen, &self.parts.knobs, &*self.parts.routes, now);
        if changes.is_empty() {
            self.was_away = None;
            return Ok(());
        }
        let is_told = !changes.notices.is_empty();
        if self.escrow.store.save_incidents(self.parts.owner, changes).at("incidents.save").await? {
            self.was_away = None;
            if is_told {
                self.escrow.nudges.notices.notify_waiters();
            }
        } else {
            self.leased_at = None;
        }
        Ok(())
    }

    /// The database takes writes: if it did not for long, that is written down now, with its times.
    fn note_return(&mut self, now: Moment) {
        if let Some((since, why)) = self.database.went_well(now) {
            let why = format!(
                "the database took no writes from {since} to {now} ({why}); nothing was applied meanwhile, what the services published \
                 waited in the tap; look at the database"
            );
            self.was_away = Some(observing::plain(Cause::DatabaseAway, "", since, now, why));
        }
    }

    /// What this process knows without asking.
    fn remembered(&mut self, view: &View, now: Moment) -> Vec<Observed> {
        let mut all = Vec::new();
        let switched_off = self.escrow.sight.is_switched_off();
        if let Some((since, who)) = &switched_off {
            let why = format!(
                "Escrow sees nothing of what the services publish: the tap is {who}. `escrow rabbit bind` binds it again; what was \
                 published meanwhile is a gap, and the orders open in it are told about and not acted on"
            );
            all.push(observing::plain(Cause::Unbound, "", *since, *since, why));
        }
        if let Some(health) = self.parts.tap.as_ref().map(|tap| tap.health()) {
            let is_away = !health.connected || !health.publishing;
            if let Some(since) = self.broker.note(is_away, now, AWAY_AFTER) {
                let problem = health.problem.unwrap_or_else(|| "a connection is down".to_owned());
                let why = format!(
                    "the broker cannot be reached since {since}: {problem}; deadlines wait, and nothing is sent; look at the broker and the \
                     network"
                );
                all.push(observing::plain(Cause::BrokerAway, "", since, now, why));
            }
        }
        if let Some(blind) = self.blindness(view, switched_off.is_some(), now) {
            all.push(blind);
        }
        all
    }

    /// Whoever unbinds the tap makes it blind, and that is said already.
    fn blindness(&mut self, view: &View, switched_off: bool, now: Moment) -> Option<Observed> {
        let words = match view {
            View::Blind(why) if !switched_off => Some(why),
            View::Blind(_) | View::Behind | View::Clear => None,
        };
        let since = self.blind.note(words.is_some(), now, BLIND_AFTER)?;
        let troubled = self.escrow.sight.troubled();
        let (saga, what) = if troubled.is_empty() {
            (String::new(), words.cloned().unwrap_or_default())
        } else {
            observing::blind_saga(&self.escrow.catalog(), &troubled)
        };
        let why = format!(
            "Escrow does not see all that the services publish since {since}: {what}; deadlines wait. `escrow doctor` says what to mend"
        );
        Some(observing::plain(Cause::Blind, &saga, since, now, why))
    }

    async fn stored(&mut self, now: Moment) -> Result<Seen, StoreError> {
        let catalog = self.escrow.catalog();
        let groups = self.escrow.store.stuck_groups().at("incidents.stuck_groups").await?;
        let states = self.escrow.store.saga_states().at("incidents.saga_states").await?;
        if self.slow_at.is_none_or(|at| at.elapsed() >= SLOWLY) {
            self.slow = self.slowly(&catalog, now).await?;
            self.slow_at = Some(Instant::now());
        }
        let mut observed = observing::stuck(&catalog, groups, &states, &self.findings(now));
        observed.extend(self.slow.iter().cloned());
        if self.unseen_at.is_none_or(|at| at.elapsed() >= UNSEEN_EVERY) {
            self.unseen = self.misspelt(&catalog, now).await?;
            self.unseen_at = Some(Instant::now());
        }
        observed.extend(self.unseen.iter().cloned());
        Ok(Seen { observed, unjudged: BTreeSet::new() })
    }

    async fn misspelt(&self, catalog: &Catalog, now: Moment) -> Result<Vec<Observed>, StoreError> {
        let mut observed = Vec::new();
        for saga in catalog.newest_all() {
            let met = self.escrow.store.events_met(saga.name.clone()).await?;
            observed.extend(unseen::misspelt(saga, &met, now));
        }
        Ok(observed)
    }

    async fn slowly(&mut self, catalog: &Catalog, now: Moment) -> Result<Vec<Observed>, StoreError> {
        let growth = self.escrow.store.quarantine_growth(now - acts::WINDOW).at("incidents.quarantine").await?;
        self.read_acts(catalog, now).await?;
        let suspects = observing::may_be_stalled(&self.acts.groups());
        let mut stalled = BTreeSet::new();
        for (saga, step, timeouts) in suspects {
            let since = Some(now - acts::WINDOW);
            let filter = JournalFilter {
                saga: Some(saga.clone()),
                kinds: vec![crate::saga::journal::Kind::Event],
                since,
                ..JournalFilter::default()
            };
            let page = Page { limit: EVENTS_SAMPLED, cursor: None };
            let newest = self.escrow.store.journal(filter, page).await?;
            let was_full = newest.next_cursor.is_some();
            if acts::is_stalled(catalog, &step, timeouts, &newest.items, was_full, now) {
                stalled.insert((saga, step));
            }
        }
        let mut observed = observing::acts(catalog, &self.acts.groups(), &stalled, &self.findings(now));
        observed.extend(observing::quarantine(growth));
        Ok(observed)
    }

    async fn read_acts(&mut self, catalog: &Catalog, now: Moment) -> Result<(), StoreError> {
        let filter = self.acts.wanted(now);
        let mut page = Page { limit: ACTS_PAGE, cursor: None };
        let mut rows = Vec::new();
        for _ in 0..ACTS_PAGES_MAX {
            let listed = self.escrow.store.journal(filter.clone(), page.clone()).at("incidents.acts").await?;
            rows.extend(listed.items);
            match listed.next_cursor {
                Some(cursor) => page.cursor = Some(cursor),
                None => break,
            }
        }
        let mut matter = Vec::new();
        for (position, act) in self.acts.read(catalog, &rows, now) {
            if self.needs_person(&act).await? {
                matter.push((position, act));
            }
        }
        self.acts.remember(matter);
        Ok(())
    }

    /// What came late needs a person where its order was closed by one, or where it would open an order that has ended.
    async fn needs_person(&self, act: &Act) -> Result<bool, StoreError> {
        let What::Late { opening } = act.what else { return Ok(true) };
        let order = self.escrow.store.find_order(act.key.clone()).await?;
        Ok(order.is_some_and(|order| match order.life.status {
            Status::Closed => true,
            Status::Running | Status::Compensating | Status::Stuck => false,
            Status::Completed | Status::Compensated | Status::Cancelled | Status::Failed => opening,
        }))
    }

    /// What a look found lately in the queue of a step, in words.
    fn findings(&self, now: Moment) -> impl Fn(&str, &str) -> Option<String> + Send + Sync + use<> {
        let (catalog, escrow) = (self.escrow.catalog(), Arc::clone(&self.escrow));
        move |saga, step| {
            let saga = catalog.newest(saga)?;
            let queue = saga.steps.get(saga.step_ix(step)?)?.queue()?;
            escrow.queues.of(queue).filter(|found| found.is_fresh(now)).map(|found| found.words())
        }
    }

    async fn silent(&self, now: Moment) -> Result<Vec<Observed>, StoreError> {
        let quiet = self.escrow.heard.quiet(now);
        let mut stats = BTreeMap::new();
        for saga in quiet.iter().map(|it| &it.saga).collect::<BTreeSet<_>>() {
            stats.insert(saga.clone(), self.escrow.store.stats(saga.clone(), None).await?);
        }
        Ok(observing::silent(&self.escrow.catalog(), quiet, &stats, &self.findings(now), now))
    }

    /// Who does not see cannot say that a service answers again; and neither can who has heard nothing of it yet.
    fn unjudged(&self, open: &[Standing], view: &View) -> BTreeSet<About> {
        let is_new = self.began.elapsed() < UNSURE_FOR;
        let unknown = |about: &&About| match Cause::from_word(&about.cause) {
            Some(Cause::ServiceSilent | Cause::StepStalled) if *view != View::Clear => true,
            Some(Cause::ServiceSilent) => {
                let step = about.step.as_deref().unwrap_or_default();
                !self.escrow.heard.is_answering(&about.saga, step).unwrap_or(!is_new)
            }
            Some(_) | None => false,
        };
        open.iter().map(|it| &it.incident.about).filter(unknown).cloned().collect()
    }
}

impl Worker for Incidents {
    fn name(&self) -> &'static str {
        "incidents"
    }

    fn run_once(&mut self) -> BoxFuture<'_, Result<Ran, WorkerError>> {
        Box::pin(async move {
            let began = Instant::now();
            let looked = self.look().await;
            if let Err(error @ StoreError::Unavailable(_)) = &looked {
                self.database.failed(chain_of(error));
                self.leased_at = None;
            }
            looked?;
            let rest = (began.elapsed() * TIMES_ITS_COST).clamp(PAUSE_MIN, PAUSE_MAX);
            self.rest_until = Some(Instant::now() + rest);
            Ok(Ran::Idle(rest.max(EVERY)))
        })
    }

    fn nudged(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            self.escrow.nudges.stuck.notified().await;
            if let Some(until) = self.rest_until {
                tokio::time::sleep_until(until).await;
            }
        })
    }
}
