//! The calendar: statistics, and forgetting what nobody needs any more.
//!
//! Cron expressions in UTC, by tokio-cron-scheduler; one replica at a time, by a lease in the store. Deadlines are rows, not
//! jobs: nothing an order depends on is here. The scheduler lets runs of one job overlap and does not wait for them, so each
//! body is guarded by a lock of its own.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use tokio::sync::Mutex;
use tokio_cron_scheduler::{Job, JobScheduler, JobSchedulerError};
use uuid::Uuid;

use crate::saga::time::Span;
use crate::store::StoreError;

use super::{Escrow, chain_of};

/// Statistics look back this far.
const STATS_SINCE: Span = Span::from_secs(7 * 86_400);

/// Settled outbox rows, resolved doubts and idempotency keys are kept this long, for questions asked afterwards.
const KEEP: Span = Span::from_secs(7 * 86_400);

/// Long enough for the slowest run; a replica that dies in the middle holds the others up no longer than this.
const LEASE: Span = Span::from_secs(55);

type Run = fn(Arc<Escrow>) -> BoxFuture<'static, Result<(), StoreError>>;

/// Every job: its name, when it runs (seconds first), and what it does.
const JOBS: [(&str, &str, Run); 2] = [("statistics", "15 * * * * *", statistics), ("purge", "0 17 * * * *", purge)];

/// Starts the calendar.
///
/// # Errors
/// The scheduler cannot start.
pub async fn start(escrow: Arc<Escrow>) -> Result<JobScheduler, JobSchedulerError> {
    let scheduler = JobScheduler::new().await?;
    let owner = Uuid::new_v4();
    for (name, when, run) in JOBS {
        let escrow = Arc::clone(&escrow);
        let running = Arc::new(Mutex::new(()));
        let job = Job::new_async(when, move |_, _| {
            let (escrow, running) = (Arc::clone(&escrow), Arc::clone(&running));
            Box::pin(async move {
                if let Ok(_guard) = running.try_lock() {
                    run_leased(escrow, name, run, owner).await;
                }
            })
        })?;
        scheduler.add(job).await?;
    }
    scheduler.start().await?;
    Ok(scheduler)
}

async fn run_leased(escrow: Arc<Escrow>, name: &'static str, run: Run, owner: Uuid) {
    let outcome = match escrow.store.lease(name.to_owned(), owner, LEASE).await {
        Ok(true) => run(Arc::clone(&escrow)).await,
        Ok(false) => return,
        Err(error) => Err(error),
    };
    match outcome {
        Ok(()) => tracing::debug!(job = name, "housekeeping done"),
        Err(error) => {
            tracing::warn!(job = name, error = %chain_of(&error), "housekeeping failed; it runs again at its time");
        }
    }
}

fn statistics(escrow: Arc<Escrow>) -> BoxFuture<'static, Result<(), StoreError>> {
    Box::pin(async move {
        let now = escrow.store.now().await?;
        escrow.store.refresh_stats(now - STATS_SINCE).await
    })
}

fn purge(escrow: Arc<Escrow>) -> BoxFuture<'static, Result<(), StoreError>> {
    Box::pin(async move {
        let now = escrow.store.now().await?;
        let rows = escrow.store.purge(now - KEEP).await?;
        tracing::info!(rows, "forgot what is settled and old");
        Ok(())
    })
}
