//! Follows a source: takes what is there, reads it, applies it in one transaction, acknowledges it.
//!
//! ```text
//!   Source ──Batch──▶ read (pure) ──Plan──▶ apply ──▶ ack
//!                       ▲                     │ an order is on a version another replica applied: load it, read again
//!                       └─────────────────────┤
//!                                             ▼ database away for 5 s: let the tap go, so that a healthy replica gets it,
//!                                               and wait until a write succeeds
//! ```
//!
//! Acknowledged only after the commit; nothing is ever handed back.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use sha2::Digest as _;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::bus::{Batch, BusError, Delivery, Item, Source, Tap};
use crate::faults::{Bug, Step as _, is_planted};
use crate::saga::batch::{NewDoubt, QuarantineReason};
use crate::saga::catalog::Catalog;
use crate::saga::decide::{FromTap, Plan, Unread, Work};
use crate::saga::order::Digest;
use crate::saga::time::{Moment, Span};
use crate::store::TapRow;
use crate::telemetry::ReasonLabel;

use super::applying::{Applied, Applying, Lost, kept_as, token_of};
use super::definitions;
use super::reading::{self, Readings, raw};
use super::traces::Timing;
use super::watermark::{HTTP_PAUSE_MAX, Watermarks};
use super::{Escrow, backoff, chain_of, sleep_or, words_of};

/// How long a write is asked to hold a lease when it is only to show that writing works.
const PROBE_LEASE: Span = Span::from_secs(1);

/// What ingest of one source needs.
pub struct Ingest {
    escrow: Arc<Escrow>,
    watermarks: Arc<Watermarks>,
    applying: Applying,
    readings: Readings,
    body_keep_bytes: usize,
    owner: Uuid,
    /// When this replica last committed a batch of the tap, by the database's clock.
    committed_at: Option<Moment>,
    /// Batches, of all sources.
    taken: u64,
}

/// A batch without the right to acknowledge it.
struct Taken {
    tap: Option<String>,
    items: Vec<Item>,
    lag: Option<Span>,
    is_fresh: bool,
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
        let applying = Applying::new(Arc::clone(&escrow));
        let readings = Readings::new(body_keep_bytes);
        Self {
            escrow,
            watermarks,
            applying,
            readings,
            body_keep_bytes,
            owner: Uuid::new_v4(),
            committed_at: None,
            taken: 0,
        }
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
        loop {
            let batch = tokio::select! {
                biased;
                () = shutdown.cancelled() => return None,
                batch = source.next_batch().at("ingest.next_batch") => batch,
            };
            let outcome = match batch {
                Ok(batch) => self.take(batch, shutdown).await,
                Err(error) => Err(Ended::Bus(error)),
            };
            match outcome {
                Ok(()) => {}
                Err(Ended::Bus(error)) => {
                    tracing::warn!(error = %chain_of(&error), "the source ended; it will be opened again");
                    return Some("bus");
                }
                Err(Ended::Lost(Lost::Database)) => {
                    tracing::error!("the database cannot be used: letting the source go until a write succeeds");
                    return Some("database");
                }
                Err(Ended::Lost(Lost::Stopping)) => return None,
            }
        }
    }

    async fn take(&mut self, batch: Batch, shutdown: &CancellationToken) -> Result<(), Ended> {
        self.taken += 1;
        let mut timing = Timing::of(&self.escrow, &batch);
        let Batch { tap, items, lag, is_fresh, receipt } = batch;
        let batch = Taken { tap, items, lag, is_fresh };
        let mut plan = self.read(&batch, shutdown).await?;
        if is_planted(Bug::AckBeforeCommit) {
            receipt.ack(false).await.map_err(Ended::Bus)?;
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
        let sagas = reading::sagas_of(&plan.work);
        let canary = plan.tap.as_ref().and_then(|tap| tap.watermark);
        timing.committing();
        let (settle, now) = loop {
            match self.applying.apply(plan, shutdown).await? {
                Applied::Done { settle, now } => break (settle, now),
                Applied::UnknownVersion(saga, version) => {
                    tracing::info!(saga, version, "an order is on a version another replica applied");
                    if let Err(error) = definitions::refresh(&self.escrow).await {
                        tracing::error!(error = %chain_of(&error), saga, version, "that version cannot be followed here");
                    }
                    // What is still not known then is quarantined.
                    plan = Plan { needs_versions: false, ..self.read(&batch, shutdown).await? };
                }
            }
        };
        if !forgotten.is_empty() {
            self.applying.apply(self.escrow.plan(forgotten), shutdown).await?;
        }
        if batch.tap.is_some() {
            self.committed_at = Some(now);
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
        timing.committed();
        receipt.ack(settle).at("ingest.ack").await.map_err(Ended::Bus)?;
        timing.export(&self.escrow);
        Ok(())
    }

    /// What a batch comes to.
    async fn read(&mut self, batch: &Taken, shutdown: &CancellationToken) -> Result<Plan, Lost> {
        let catalog = self.escrow.catalog();
        let secret: Digest = sha2::Sha256::digest(Uuid::new_v4().as_bytes()).into();
        let mut plan = self.escrow.plan(Vec::new());
        let (mut canary, mut carried_on) = (None, None);
        let mut salts = 0_u64;
        // What was met on a reading that is not the last one of its batch does not count.
        drop(self.readings.take_coverage());
        for item in &batch.items {
            match item {
                Item::Delivery(delivery) => {
                    salts += 1;
                    let salt = reading::salt(&secret, salts);
                    plan.work.extend(self.read_one(&catalog, delivery, salt, batch.lag));
                }
                Item::Canary { sent_at, carried } => {
                    canary = canary.max(Some(*sent_at));
                    carried_on = carried_on.max(*carried);
                }
                Item::Gap(gap) => {
                    let row = self.stored_tap(batch.tap.as_deref(), shutdown).await?;
                    plan.work.extend(reading::gap(gap, row.as_ref()).map(Work::Doubt));
                }
            }
        }
        if carried_on.is_some() {
            let row = self.stored_tap(batch.tap.as_deref(), shutdown).await?;
            plan.work.extend(row.and_then(|row| loss(carried_on, &row)).map(Work::Doubt));
        }
        plan.coverage = Arc::new(self.readings.take_coverage());
        let (is_fresh, before) = (batch.is_fresh, Vec::new());
        let committed_at = self.committed_at;
        plan.tap = batch.tap.clone().map(|name| FromTap { name, watermark: canary, is_fresh, before, committed_at });
        Ok(Plan { token: Some(token_of(&secret, "whole")), needs_versions: true, ..plan })
    }

    /// A message the program breaks over is kept like one that cannot be read.
    fn read_one(&mut self, catalog: &Catalog, delivery: &Delivery, salt: [u8; 16], lag: Option<Span>) -> Option<Work> {
        let (readings, sight) = (&mut self.readings, &self.escrow.sight);
        let read = AssertUnwindSafe(|| readings.read(catalog, sight, delivery, salt, lag));
        match std::panic::catch_unwind(read) {
            Ok(read) => read.map(Work::Delivered),
            Err(panic) => {
                let detail = format!("the program broke over it: {}", words_of(&*panic));
                tracing::error!(exchange = delivery.exchange, detail, "a message cannot be read");
                let message = kept_as(QuarantineReason::Unreadable, detail, raw(delivery, self.body_keep_bytes));
                Some(Work::Unreadable(Unread { message: Box::new(message), doubt: true }))
            }
        }
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

/// A canary that carries a later watermark than the store holds found a database that lost commits.
fn loss(carried: Option<Moment>, row: &TapRow) -> Option<NewDoubt> {
    (row.watermark < carried).then(|| {
        tracing::error!(stored = ?row.watermark, ?carried, "the database holds an earlier watermark than a canary carries");
        NewDoubt::lost_commits(row.watermark, row.now)
    })
}
