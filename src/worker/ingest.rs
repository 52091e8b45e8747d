//! Follows a source: takes what is there, reads it, applies it in one transaction, acknowledges it.
//!
//! ```text
//!   Source ──▶ fetch and read (pure) ──▶ plan ──▶ apply ──▶ ack
//!                 ▲        ▲                        │ an order is on a version another replica applied: load it, read again
//!                 │        └────────────────────────┤
//!                 └── the next one meanwhile, ──────┤ when this one was full: there is a backlog
//!                     never applied before this one ▼ database away for 5 s: let the tap go, so that a healthy replica gets it,
//!                                                     and wait until a write succeeds
//! ```
//!
//! Acknowledged only after the commit, one batch after the other; nothing is ever handed back.

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::bus::{BusError, Source, Tap};
use crate::faults::{Bug, Step as _, is_planted};
use crate::saga::batch::NewDoubt;
use crate::saga::decide::{FromTap, Plan, Work};
use crate::saga::time::{Moment, Span};
use crate::store::TapRow;
use crate::telemetry::ReasonLabel;

use super::applying::{Applied, Applying, Lost};
use super::definitions;
use super::fetching::{Fetched, Fetching};
use super::reading;
use super::watermark::{HTTP_PAUSE_MAX, Watermarks};
use super::{Escrow, backoff, chain_of, sleep_or};

/// How long a write is asked to hold a lease when it is only to show that writing works.
const PROBE_LEASE: Span = Span::from_secs(1);

/// What ingest of one source needs.
pub struct Ingest {
    escrow: Arc<Escrow>,
    watermarks: Arc<Watermarks>,
    fetching: Fetching,
    applying: Applying,
    owner: Uuid,
    /// When this replica last committed a batch of the tap, by the database's clock.
    committed_at: Option<Moment>,
    /// Batches, of all sources.
    taken: u64,
}

/// Why a source is followed no longer.
enum Ended {
    Bus(BusError),
    Lost(Lost),
}

impl From<Lost> for Ended {
    fn from(lost: Lost) -> Self {
        Self::Lost(lost)
    }
}

impl Ingest {
    /// Ingest that keeps bodies up to `body_keep_bytes`.
    pub fn new(escrow: Arc<Escrow>, watermarks: Arc<Watermarks>, body_keep_bytes: usize) -> Self {
        let fetching = Fetching::new(Arc::clone(&escrow), body_keep_bytes);
        let applying = Applying::new(Arc::clone(&escrow));
        Self { escrow, watermarks, fetching, applying, owner: Uuid::new_v4(), committed_at: None, taken: 0 }
    }

    /// Follows a tap until shutdown, opening it again whenever it is lost.
    pub async fn follow_tap(mut self, tap: Arc<dyn Tap>, shutdown: CancellationToken) {
        let mut failures = 0;
        while !shutdown.is_cancelled() {
            let opened = tokio::select! {
                () = shutdown.cancelled() => return,
                opened = tap.source().at("ingest.open_tap") => opened,
            };
            match opened {
                Ok(mut source) => {
                    if let Ok(now) = self.escrow.store.now().at("ingest.now").await {
                        self.escrow.sight.watching(now);
                    }
                    let taken = self.taken;
                    let ended = self.follow(source.as_mut(), &shutdown).await;
                    // A source that gave nothing may be refused as often as it is opened.
                    failures = if self.taken == taken { failures + 1 } else { 0 };
                    if let Some(reason) = ended {
                        self.escrow.metrics.consumer_restarts.get_or_create(&ReasonLabel { reason }).inc();
                    }
                }
                Err(error) => {
                    failures += 1;
                    tracing::warn!(tap = tap.name(), error = %chain_of(&error), "the tap cannot be opened; trying again");
                }
            }
            if !shutdown.is_cancelled() {
                self.wait_for_a_write(&shutdown, failures).await;
            }
        }
    }

    /// Follows a source until it ends (`bus`), the database is away for too long (`database`), or shutdown.
    pub async fn follow(&mut self, source: &mut dyn Source, shutdown: &CancellationToken) -> Option<&'static str> {
        let outcome = self.follow_in_turns(source, shutdown).await;
        match outcome {
            Ok(()) | Err(Ended::Lost(Lost::Stopping)) => None,
            Err(Ended::Bus(error)) => {
                tracing::warn!(error = %chain_of(&error), "the source ended; it will be opened again");
                Some("bus")
            }
            Err(Ended::Lost(Lost::Database)) => {
                tracing::error!("the database cannot be used: letting the source go until a write succeeds");
                Some("database")
            }
        }
    }

    /// One batch after the other until shutdown. While a full one is written the next is fetched; what was fetched and is not
    /// written comes again.
    async fn follow_in_turns(&mut self, source: &mut dyn Source, shutdown: &CancellationToken) -> Result<(), Ended> {
        let Self { escrow, watermarks, fetching, applying, committed_at, taken, .. } = self;
        let mut writer = Writer { escrow, watermarks, fetching, applying, committed_at };
        let mut next = until(shutdown, fetching.next(source)).await;
        while let Some(batch) = next {
            let batch = batch.map_err(Ended::Bus)?;
            *taken += 1;
            let is_full = batch.is_full;
            // Begun once and carried to its end: the bus may be in the middle of a question.
            let mut fetching = std::pin::pin!(fetching.next(source));
            let mut writing = std::pin::pin!(writer.write(batch, shutdown));
            let mut fetched = None;
            loop {
                tokio::select! {
                    biased;
                    written = &mut writing => break written?,
                    batch = &mut fetching, if is_full && fetched.is_none() => fetched = Some(batch),
                }
            }
            next = match fetched {
                Some(batch) => Some(batch).filter(|_| !shutdown.is_cancelled()),
                None => until(shutdown, fetching).await,
            };
        }
        Ok(())
    }

    /// Opens the tap again only after a write of this process succeeded.
    async fn wait_for_a_write(&self, shutdown: &CancellationToken, mut failures: u32) {
        loop {
            failures += 1;
            sleep_or(shutdown, backoff(failures)).await;
            let probe = format!("probe:{}", self.owner);
            if shutdown.is_cancelled() {
                return;
            }
            if self.escrow.store.lease(probe, self.owner, PROBE_LEASE).at("ingest.probe").await.is_ok() {
                return;
            }
        }
    }
}

/// What writes batches, one after the other.
struct Writer<'a> {
    escrow: &'a Arc<Escrow>,
    watermarks: &'a Watermarks,
    fetching: &'a Fetching,
    applying: &'a Applying,
    committed_at: &'a mut Option<Moment>,
}

impl Writer<'_> {
    /// Applies a batch and acknowledges it.
    async fn write(&mut self, mut batch: Fetched, shutdown: &CancellationToken) -> Result<(), Ended> {
        let mut plan = self.plan(&mut batch, true, shutdown).await?;
        if is_planted(Bug::AckBeforeCommit) {
            batch.receipt.ack(false).await.map_err(Ended::Bus)?;
            return self.applying.apply(plan, shutdown).await.map(drop).map_err(Ended::Lost);
        }
        if is_planted(Bug::CanaryBeforeCommit) {
            self.applying.apply(Plan { work: Vec::new(), token: None, ..plan.clone() }, shutdown).await?;
        }
        let mut forgotten = Vec::new();
        if is_planted(Bug::GapAfterWatermark) {
            let (doubts, rest) = plan.work.into_iter().partition(|work| matches!(work, Work::Doubt(_)));
            (forgotten, plan.work) = (doubts, rest);
        }
        let sagas = if batch.tap.is_none() { reading::sagas_of(&plan.work) } else { BTreeSet::new() };
        let canary = plan.tap.as_ref().and_then(|tap| tap.watermark);
        batch.timing.committing();
        let (settle, now) = loop {
            match self.applying.apply(plan, shutdown).await? {
                Applied::Done { settle, now } => break (settle, now),
                Applied::UnknownVersion(saga, version) => {
                    tracing::info!(saga, version, "an order is on a version another replica applied");
                    if let Err(error) = definitions::refresh(self.escrow).await {
                        tracing::error!(error = %chain_of(&error), saga, version, "that version cannot be followed here");
                    }
                    self.fetching.read_again(&mut batch);
                    // What is still not known then is quarantined.
                    plan = self.plan(&mut batch, false, shutdown).await?;
                }
            }
        };
        if !forgotten.is_empty() {
            self.applying.apply(self.escrow.plan(forgotten), shutdown).await?;
        }
        if batch.tap.is_some() {
            *self.committed_at = Some(now);
            self.escrow.sight.committed(now, canary);
            if canary.is_some() {
                // A deadline that came due while it was out needs another.
                self.escrow.nudges.armed.notify_one();
            }
        } else {
            for saga in sagas.iter().filter(|saga| self.watermarks.seen_over_http(saga, now)) {
                // Losing it costs a minute of caution after a restart.
                let row = Watermarks::http_row(saga);
                let _ = self.escrow.store.accepting(row, HTTP_PAUSE_MAX).at("ingest.accepting").await;
            }
        }
        batch.timing.committed();
        batch.receipt.ack(settle).at("ingest.ack").await.map_err(Ended::Bus)?;
        batch.timing.export(self.escrow);
        Ok(())
    }

    /// What is to be done about a batch; takes what was read of it.
    async fn plan(
        &self,
        batch: &mut Fetched,
        needs_versions: bool,
        shutdown: &CancellationToken,
    ) -> Result<Plan, Lost> {
        let content = &mut batch.content;
        let mut work = Vec::new();
        for gap in std::mem::take(&mut content.gaps) {
            let row = self.stored_tap(batch.tap.as_deref(), shutdown).await?;
            work.extend(reading::gap(&gap, row.as_ref()).map(Work::Doubt));
        }
        work.append(&mut content.work);
        if content.carried.is_some() {
            let row = self.stored_tap(batch.tap.as_deref(), shutdown).await?;
            work.extend(row.and_then(|row| loss(content.carried, &row)).map(Work::Doubt));
        }
        let (watermark, is_fresh, committed_at) = (content.canary, batch.is_fresh, *self.committed_at);
        let tap = batch.tap.clone().map(|name| FromTap { name, watermark, is_fresh, before: Vec::new(), committed_at });
        let (catalog, coverage) = (Arc::clone(&content.catalog), Arc::new(std::mem::take(&mut content.coverage)));
        Ok(Plan { catalog, coverage, tap, token: Some(content.token), needs_versions, ..self.escrow.plan(work) })
    }

    /// What is recorded about the tap must not be lost for want of its row: asked until it is there.
    async fn stored_tap(&self, tap: Option<&str>, shutdown: &CancellationToken) -> Result<Option<TapRow>, Lost> {
        let Some(tap) = tap else { return Ok(None) };
        match self.applying.insist(shutdown, || self.escrow.store.tap(tap.to_owned())).at("ingest.tap_row").await? {
            Ok(row) => Ok(Some(row)),
            Err(error) => {
                tracing::error!(error = %chain_of(&error), tap, "the row of the tap cannot be read");
                Err(Lost::Database)
            }
        }
    }
}

/// What comes of `future`; `None` when shutdown comes first.
async fn until<T>(shutdown: &CancellationToken, future: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        biased;
        () = shutdown.cancelled() => None,
        done = future => Some(done),
    }
}

/// A canary that carries a later watermark than the store holds found a database that lost commits.
fn loss(carried: Option<Moment>, row: &TapRow) -> Option<NewDoubt> {
    (row.watermark < carried).then(|| {
        tracing::error!(stored = ?row.watermark, ?carried, "the database holds an earlier watermark than a canary carries");
        NewDoubt::lost_commits(row.watermark, row.now)
    })
}
