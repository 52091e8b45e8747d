//! Applies a plan, whatever it takes, or says that it cannot be done now.
//!
//! ```text
//!   commit ──▶ done
//!     │ database away: again, with backoff, for 5 s; then let go
//!     │ content refused: in halves, until the culprit is alone
//!     ▼ and quarantined; all others are applied
//! ```
//!
//! A commit whose answer was lost is asked for again, and recognised: by the identity of its messages, or by the token of the
//! batch (each part of a split batch has its own).

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::faults::Step as _;
use crate::saga::batch::{QuarantineReason, Quarantined};
use crate::saga::decide::{OrderRef, Plan, Unread, Work};
use crate::saga::time::Moment;
use crate::store::{Beside, Committed, StoreError};
use crate::telemetry::ClassLabel;

use super::{Escrow, backoff, chain_of, sleep_or};

/// A replica that cannot commit for this long lets its tap go.
const LET_GO_AFTER: Duration = Duration::from_secs(5);

/// Applies plans.
pub struct Applying {
    escrow: Arc<Escrow>,
}

/// Why a batch was not applied.
pub enum Lost {
    /// The database could not be used for too long: the batch comes again.
    Database,
    Stopping,
}

/// What became of a plan.
pub enum Applied {
    Done {
        /// The acknowledgement must reach the broker before the next commit (rule 2).
        settle: bool,
        /// When, by the database's clock.
        now: Moment,
    },
    /// Nothing was done: an order is on this version, which the catalog does not have.
    UnknownVersion(String, u32),
}

impl From<Committed> for Applied {
    fn from(committed: Committed) -> Self {
        match committed.changes.unknown_version {
            Some((saga, version)) => Self::UnknownVersion(saga, version),
            None => Self::Done {
                settle: committed.changes.tap.is_some_and(|tap| !tap.last_batch.is_empty()),
                now: committed.now,
            },
        }
    }
}

impl Applying {
    /// Applies to this Escrow's store.
    pub fn new(escrow: Arc<Escrow>) -> Self {
        Self { escrow }
    }

    /// Applies a plan; what the database refuses is quarantined.
    ///
    /// # Errors
    /// It may be applied in parts; the whole is to be applied again.
    pub async fn apply(&self, plan: Plan, shutdown: &CancellationToken) -> Result<Applied, Lost> {
        let lanes = if self.escrow.store.has_lanes() { plan.into_lanes() } else { Err(Box::new(plan)) };
        match lanes {
            Ok(lanes) => self.apply_beside(lanes, shutdown).await,
            Err(plan) => self.apply_whole(*plan, shutdown).await,
        }
    }

    /// Two lanes beside each other; what that does not bring to its end, one after the other, as patiently as any plan.
    async fn apply_beside(&self, lanes: [Plan; 2], shutdown: &CancellationToken) -> Result<Applied, Lost> {
        let lanes = lanes.map(Arc::new);
        let [first, last] = lanes.clone();
        let Beside { first: one, last: other } = self.escrow.commit_beside(lanes).await;
        let one = match one {
            Ok(committed) => Applied::from(committed),
            Err(_) => self.apply_whole(Arc::unwrap_or_clone(first), shutdown).await?,
        };
        if let Applied::UnknownVersion(..) = one {
            return Ok(one);
        }
        match other {
            Some(Ok(committed)) => Ok(Applied::from(committed)),
            Some(Err(_)) | None => self.apply_whole(Arc::unwrap_or_clone(last), shutdown).await,
        }
    }

    async fn apply_whole(&self, plan: Plan, shutdown: &CancellationToken) -> Result<Applied, Lost> {
        // Shared with every attempt: a batch may hold megabytes of bodies.
        let plan = Arc::new(plan);
        match self.insist(shutdown, || self.escrow.commit(Arc::clone(&plan))).at("applying.commit").await? {
            Ok(committed) => Ok(Applied::from(committed)),
            Err(error) => {
                tracing::error!(error = %chain_of(&error), size = plan.work.len(), "the database refuses a batch; looking for the culprit");
                Box::pin(self.apply_apart(Arc::unwrap_or_clone(plan), &error, shutdown)).await
            }
        }
    }

    /// Asks the database until it answers, for a while. The answer may be that it refuses.
    ///
    /// # Errors
    /// It could not be used for too long.
    pub async fn insist<'a, T>(
        &self,
        shutdown: &CancellationToken,
        ask: impl Fn() -> BoxFuture<'a, Result<T, StoreError>>,
    ) -> Result<Result<T, StoreError>, Lost> {
        let began = Instant::now();
        let mut failures = 0;
        loop {
            let error = match ask().at("applying.ask").await {
                Err(StoreError::Unavailable(error)) => error,
                answer => return Ok(answer),
            };
            failures += 1;
            self.escrow.metrics.db_retries.get_or_create(&ClassLabel { class: "unavailable" }).inc();
            tracing::warn!(error = %chain_of(&error), failures, "the database cannot be used now; trying again");
            if began.elapsed() > LET_GO_AFTER {
                return Err(Lost::Database);
            }
            if shutdown.is_cancelled() {
                return Err(Lost::Stopping);
            }
            sleep_or(shutdown, backoff(failures)).await;
        }
    }

    /// Splits a refused batch until the culprit is alone, and quarantines it: the others must not suffer for it.
    async fn apply_apart(
        &self,
        mut plan: Plan,
        error: &StoreError,
        shutdown: &CancellationToken,
    ) -> Result<Applied, Lost> {
        if plan.work.len() <= 1 {
            let Some(quarantined) = plan.work.first().and_then(|work| refused(work, error)) else {
                return Err(Lost::Database);
            };
            for work in [bare(&quarantined), Some(quarantined)].into_iter().flatten().rev() {
                plan.work = vec![work];
                // It may be what is refused, and is worth less than the message.
                plan.coverage = Arc::default();
                match self.insist(shutdown, || self.escrow.commit(plan.clone())).at("applying.quarantine").await? {
                    Ok(committed) => return Ok(Applied::Done { settle: true, now: committed.now }),
                    Err(error) => tracing::error!(error = %chain_of(&error), "the quarantine refuses a message too"),
                }
            }
            return Err(Lost::Database);
        }
        let [first, second] = plan.into_halves();
        self.apply_whole(first, shutdown).await?;
        self.apply_whole(second, shutdown).await
    }
}

/// What is quarantined in place of work the database refuses; `None` where there is no message to keep.
fn refused(work: &Work, error: &StoreError) -> Option<Work> {
    if matches!(work, Work::Unreadable(_)) {
        return Some(work.clone());
    }
    let delivered = work.delivered()?;
    // Of one saga's message it is known which order it may have been for.
    let only = if let [arrival] = delivered.arrivals.as_slice() { Some(arrival) } else { None };
    let read = only.and_then(|arrival| arrival.candidates.first());
    let order_id = read.and_then(|read| match &read.place {
        OrderRef::Id(order_id) => Some(order_id.clone()),
        OrderRef::Arrival => None,
    });
    let quarantined = Quarantined {
        saga: only.map(|arrival| arrival.saga.clone()),
        event: read.map(|read| read.event.name.clone()),
        order_id,
        ..delivered.message.quarantined(QuarantineReason::Refused, chain_of(error))
    };
    Some(Work::Unreadable(Unread { message: Box::new(quarantined), doubt: true }))
}

/// The same without its content: what is left when even the quarantine refuses it.
fn bare(work: &Work) -> Option<Work> {
    let Work::Unreadable(Unread { message, doubt }) = work else { return None };
    let mut message = message.clone();
    message.detail.push_str(" (its content could not be kept)");
    (message.envelope, message.body) = (serde_json::Value::Null, Vec::new());
    Some(Work::Unreadable(Unread { message, doubt: *doubt }))
}
