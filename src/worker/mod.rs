//! The loops: each a `run_once`, and one shared driver.
//!
//! ```text
//!   ingest      Source ─▶ read ─▶ commit ─▶ ack          pulse      canaries when a deadline comes due, else every 5 s
//!   deadlines   what the watermark has passed ─▶ commit  looks      bind watched exchanges, every 2 s
//!   relay       outbox ─▶ publish ─▶ word ─▶ commit      doubts     what was held back, when a doubt goes
//!   bulk        actions on many orders, at a rate          incidents  what holds orders up, and what is told of it
//!   alerting    notices ─▶ channel ─▶ settled              housekeeping  by the calendar
//!   queues      passive looks at queues that somebody waits for
//! ```
//!
//! A loop that fails logs it once, waits, and runs again: the next run is the retry. Loops take no input but what the store
//! holds, so any of them may run in every replica, and losing a nudge costs latency only.

pub mod alerting;
pub mod applying;
pub mod bulk;
pub mod commands;
pub mod deadlines;
pub mod definitions;
pub mod doubts;
pub mod escrow;
pub mod fetching;
pub mod gauges;
pub mod housekeeping;
pub mod incidents;
pub mod ingest;
mod letting_go;
pub mod looks;
pub mod migrating;
pub mod queues;
pub mod reach;
pub mod reading;
pub mod relay;
pub mod sight;
pub mod traces;
pub mod watermark;

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio_util::sync::CancellationToken;

use crate::bus::BusError;
use crate::store::StoreError;

pub use escrow::Escrow;

/// First pause after a failed run.
const BACKOFF_MIN: Duration = Duration::from_millis(200);

/// Longest pause after failed runs.
const BACKOFF_MAX: Duration = Duration::from_secs(10);

/// What one run came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ran {
    /// Something was done; there may be more.
    Did,
    /// Nothing to do; wait for a nudge, at most this long.
    Idle(Duration),
}

/// Why a run failed. The driver waits and runs again.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Bus(#[from] BusError),
    /// A mistake in this program. The others run on, and the next run may find other things to do.
    #[error("the program broke: {0}")]
    Broke(String),
}

/// One loop.
pub trait Worker: Send {
    fn name(&self) -> &'static str;

    /// Does what there is to do once.
    fn run_once(&mut self) -> BoxFuture<'_, Result<Ran, WorkerError>>;

    /// Resolves when there may be something to do again.
    fn nudged(&self) -> BoxFuture<'_, ()>;
}

/// Runs a worker until shutdown. A run in progress is finished first.
pub async fn drive(mut worker: Box<dyn Worker>, shutdown: CancellationToken) {
    let mut failures = 0_u32;
    while !shutdown.is_cancelled() {
        let ran = AssertUnwindSafe(worker.run_once()).catch_unwind().await;
        let pause = match ran.unwrap_or_else(|panic| Err(WorkerError::Broke(words_of(&*panic)))) {
            Ok(Ran::Did) => {
                failures = 0;
                continue;
            }
            Ok(Ran::Idle(pause)) => {
                failures = 0;
                pause
            }
            Err(error) => {
                failures += 1;
                let pause = backoff(failures);
                tracing::warn!(worker = worker.name(), error = %chain_of(&error), ?pause, "a run failed; it will run again");
                sleep_or(&shutdown, pause).await;
                continue;
            }
        };
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = worker.nudged() => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// What a panic said.
pub(crate) fn words_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "without a word".to_owned())
}

/// Sleeps, unless the shutdown comes first.
pub async fn sleep_or(shutdown: &CancellationToken, pause: Duration) {
    tokio::select! {
        () = shutdown.cancelled() => {}
        () = tokio::time::sleep(pause) => {}
    }
}

/// Doubles with every failure in a row.
pub fn backoff(failures: u32) -> Duration {
    BACKOFF_MIN.saturating_mul(1 << failures.saturating_sub(1).min(10)).min(BACKOFF_MAX)
}

/// An error with all it came from, on one line.
pub fn chain_of(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}
