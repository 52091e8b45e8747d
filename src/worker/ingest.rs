//! Follows a source: takes what is there, reads it, applies it in one transaction, acknowledges it.
//!
//! ```text
//!   Source ──Batch──▶ read (pure) ──Plan──▶ commit ──▶ ack
//!                                             │ database away: try again; after 5 s let the tap go, so that
//!                                             │ a healthy replica gets it, and wait until a write succeeds
//!                                             │ content refused: split the batch until the culprit is alone,
//!                                             ▼ and quarantine it; the others are applied
//! ```
//!
//! Acknowledged only after the commit; nothing is ever handed back. A batch whose commit lost its answer is applied again,
//! and recognised: by the identity of its messages, or by the batch's own token where they have none.

use std::sync::Arc;
use std::time::Duration;

use sha2::Digest as _;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::bus::{Batch, BusError, Delivery, Item, Source, Tap};
use crate::saga::batch::{NewDoubt, QuarantineReason, Quarantined};
use crate::saga::decide::{Plan, RawMessage, Work};
use crate::saga::order::{Digest, DoubtKind};
use crate::saga::time::Moment;
use crate::store::StoreError;

use super::reading::{self, Readings};
use super::watermark::{HTTP_PAUSE_MAX, Watermarks, lost_commits};
use super::{Escrow, backoff, chain_of, sleep_or};

/// A replica that cannot commit for this long lets its tap go.
const LET_GO_AFTER: Duration = Duration::from_secs(5);

/// How long a write is asked to hold a lease when it is only to show that writing works.
const PROBE_LEASE: crate::saga::time::Span = crate::saga::time::Span::from_secs(1);

/// What ingest of one source needs.
pub struct Ingest {
    escrow: Arc<Escrow>,
    watermarks: Arc<Watermarks>,
    readings: Readings,
    owner: Uuid,
}

/// Why a batch was not applied.
enum Lost {
    /// The database could not be used for too long: the batch comes again.
    Database,
    Stopping,
}

impl Ingest {
    /// Ingest that keeps bodies up to `body_keep_bytes`.
    pub fn new(escrow: Arc<Escrow>, watermarks: Arc<Watermarks>, body_keep_bytes: usize) -> Self {
        Self { escrow, watermarks, readings: Readings::new(body_keep_bytes), owner: Uuid::new_v4() }
    }

    /// Follows a tap until shutdown, opening it again whenever it is lost.
    pub async fn follow_tap(mut self, tap: Arc<dyn Tap>, shutdown: CancellationToken) {
        let mut failures = 0;
        while !shutdown.is_cancelled() {
            let opened = tokio::select! {
                () = shutdown.cancelled() => return,
                opened = tap.source() => opened,
            };
            match opened {
                Ok(mut source) => {
                    if let Ok(now) = self.escrow.store.now().await {
                        self.escrow.sight.watching(now);
                    }
                    failures = 0;
                    self.follow(source.as_mut(), &shutdown).await;
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

    /// Follows a source until it ends, the database is away for too long, or shutdown.
    pub async fn follow(&mut self, source: &mut dyn Source, shutdown: &CancellationToken) {
        loop {
            let batch = tokio::select! {
                biased;
                () = shutdown.cancelled() => return,
                batch = source.next_batch() => batch,
            };
            let outcome = match batch {
                Ok(batch) => self.take(batch, shutdown).await,
                Err(error) => Err(Ended::Bus(error)),
            };
            match outcome {
                Ok(()) => {}
                Err(Ended::Bus(error)) => {
                    tracing::warn!(error = %chain_of(&error), "the source ended; it will be opened again");
                    return;
                }
                Err(Ended::Lost(Lost::Database)) => {
                    tracing::error!("the database cannot be used: letting the tap go until a write succeeds");
                    return;
                }
                Err(Ended::Lost(Lost::Stopping)) => return,
            }
        }
    }

    async fn take(&mut self, batch: Batch, shutdown: &CancellationToken) -> Result<(), Ended> {
        let Batch { tap, items, lag, receipt } = batch;
        let catalog = self.escrow.catalog();
        let secret: Digest = sha2::Sha256::digest(Uuid::new_v4().as_bytes()).into();
        let mut plan = Plan { token: Some(secret_token(&secret)), ..self.escrow.plan(Vec::new(), Moment(0)) };
        let mut canary = None;
        let mut salts = 0_u64;
        for item in &items {
            match item {
                Item::Delivery(delivery) => {
                    salts += 1;
                    let salt = reading::salt(&secret, salts);
                    plan.work.extend(self.readings.read(&catalog, &self.escrow.sight, delivery, salt, lag));
                }
                Item::Canary { sent_at, carried } => {
                    canary = canary.max(Some(*sent_at));
                    self.look_for_loss(tap.as_deref(), *carried, &mut plan).await;
                }
                Item::Gap(gap) => {
                    let row = self.stored_tap(tap.as_deref()).await;
                    plan.work.extend(reading::gap(gap, row.as_ref()).map(Work::Doubt));
                }
            }
        }
        let over_http = tap.is_none().then(|| reading::sagas_of(&plan.work));
        plan.tap = tap.map(|name| (name, canary));
        let settle = self.apply(plan, shutdown).await.map_err(Ended::Lost)?;
        if let Ok(now) = self.escrow.store.now().await {
            self.escrow.sight.committed(now, canary);
            for saga in over_http.into_iter().flatten() {
                if self.watermarks.seen_over_http(&saga, now) {
                    let row = Watermarks::http_row(&saga);
                    // Losing it costs a minute of caution after a restart.
                    let _ = self.escrow.store.accepting(row, HTTP_PAUSE_MAX).await;
                }
            }
        }
        receipt.ack(settle).await.map_err(Ended::Bus)
    }

    async fn stored_tap(&self, tap: Option<&str>) -> Option<crate::store::TapRow> {
        self.escrow.store.tap(tap?.to_owned()).await.ok()
    }

    /// A canary that carries a later watermark than the store holds found a database that lost commits.
    async fn look_for_loss(&self, tap: Option<&str>, carried: Option<Moment>, plan: &mut Plan) {
        let (Some(carried), Some(row)) = (carried, self.stored_tap(tap).await) else { return };
        if row.watermark < Some(carried) {
            tracing::error!(stored = ?row.watermark, %carried, "the database holds an earlier watermark than a canary carries");
            plan.work.push(Work::Doubt(lost_commits(row.watermark, row.now)));
        }
    }

    /// Applies a plan, whatever it takes; answers whether its acknowledgement must be settled before the next commit.
    async fn apply(&self, plan: Plan, shutdown: &CancellationToken) -> Result<bool, Lost> {
        let began = Instant::now();
        let mut failures = 0;
        loop {
            match self.escrow.commit(plan.clone()).await {
                Ok(committed) => {
                    return Ok(committed.changes.tap.is_some_and(|tap| !tap.last_batch.is_empty()));
                }
                Err(StoreError::Unavailable(error)) => {
                    failures += 1;
                    tracing::warn!(error = %chain_of(&error), failures, "a batch cannot be committed now; trying again");
                    if began.elapsed() > LET_GO_AFTER {
                        return Err(Lost::Database);
                    }
                    if shutdown.is_cancelled() {
                        return Err(Lost::Stopping);
                    }
                    sleep_or(shutdown, backoff(failures)).await;
                }
                Err(error) => {
                    tracing::error!(error = %chain_of(&error), size = plan.work.len(), "the database refuses a batch; looking for the culprit");
                    return Box::pin(self.apply_apart(plan, &error, shutdown)).await;
                }
            }
        }
    }

    /// Splits a refused batch until the culprit is alone, and quarantines it: the others must not suffer for it.
    async fn apply_apart(
        &self,
        mut plan: Plan,
        error: &StoreError,
        shutdown: &CancellationToken,
    ) -> Result<bool, Lost> {
        if plan.work.len() <= 1 {
            let Some(quarantined) = plan.work.first().and_then(|work| refused(work, error)) else {
                return Err(Lost::Database);
            };
            plan.work = vec![quarantined];
            return match self.escrow.commit(plan).await {
                Ok(_) => Ok(false),
                Err(error) => {
                    tracing::error!(error = %chain_of(&error), "the quarantine refuses a message too");
                    Err(Lost::Database)
                }
            };
        }
        let second = plan.work.split_off(plan.work.len() / 2);
        // The tap's progress belongs to the last part: only then everything before the canary is applied.
        let first = Plan { tap: None, token: None, ..plan.clone() };
        self.apply(first, shutdown).await?;
        self.apply(Plan { work: second, ..plan }, shutdown).await
    }

    /// Opens the tap again only after a write of this process succeeded.
    async fn wait_for_a_write(&self, shutdown: &CancellationToken, mut failures: u32) {
        loop {
            failures += 1;
            sleep_or(shutdown, backoff(failures)).await;
            let probe = format!("probe:{}", self.owner);
            if shutdown.is_cancelled() || self.escrow.store.lease(probe, self.owner, PROBE_LEASE).await.is_ok() {
                return;
            }
        }
    }
}

enum Ended {
    Bus(BusError),
    Lost(Lost),
}

fn secret_token(secret: &Digest) -> Digest {
    let mut hash = sha2::Sha256::new();
    hash.update(b"batch token");
    hash.update(secret);
    hash.finalize().into()
}

/// What is quarantined in place of work the database refuses; `None` where there is no message to keep.
fn refused(work: &Work, error: &StoreError) -> Option<Work> {
    let message: RawMessage = match work {
        Work::Delivered(delivered) => (*delivered.message).clone(),
        Work::Unreadable { message, .. } => RawMessage {
            exchange: message.exchange.clone(),
            routing_key: message.routing_key.clone(),
            envelope: serde_json::Value::Null,
            body: Vec::new(),
            body_bytes: message.body_bytes,
        },
        Work::Due(..)
        | Work::Settled { .. }
        | Work::Command(..)
        | Work::Reconsider(_)
        | Work::Resolved(_)
        | Work::Doubt(_) => return None,
    };
    let quarantined = Quarantined {
        reason: QuarantineReason::Refused,
        detail: chain_of(error),
        saga: None,
        event: None,
        order_id: None,
        exchange: message.exchange,
        routing_key: message.routing_key,
        envelope: message.envelope,
        body: message.body,
        body_bytes: message.body_bytes,
    };
    Some(Work::Unreadable { message: Box::new(quarantined), doubt: true })
}

/// A delivery as it is kept in quarantine.
pub(super) fn raw(delivery: &Delivery, body_keep_bytes: usize) -> RawMessage {
    let kept = delivery.body.len().min(body_keep_bytes);
    RawMessage {
        exchange: delivery.exchange.clone(),
        routing_key: delivery.routing_key.clone(),
        envelope: serde_json::to_value(&delivery.envelope).unwrap_or_default(),
        body: delivery.body[..kept].to_vec(),
        body_bytes: delivery.body.len() as u64,
    }
}

/// A gap of one tap, from its last watermark to now.
pub(super) fn gap_doubt(detail: &str, from: Moment, to: Moment) -> NewDoubt {
    NewDoubt {
        kind: DoubtKind::Gap,
        saga: None,
        from,
        to,
        event: None,
        order_id: None,
        detail: detail.to_owned(),
        quarantined: None,
    }
}
