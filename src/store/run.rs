//! How every use case runs: in a task of its own, on a borrowed connection, again after a conflict.
//!
//! ```text
//!   caller ──spawn──▶ acquire ─▶ begin ─▶ work(session, input) ─▶ commit ──▶ answer
//!     (may go away)      ▲                    │ conflict, deadlock
//!                        └──── roll back, wait a little ◀┘
//! ```
//!
//! The caller only waits for the task: when it goes away, the work still ends, and no `begin` or `acquire` is ever cancelled.

use std::any::Any;
use std::collections::BTreeSet;
use std::hash::{BuildHasher as _, RandomState};
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

use super::session::{Access, Backend, Failure, Session};
use super::{Connections, StoreError};
use crate::faults::Step as _;

/// Attempts before a conflict is reported as the database being too busy. With the waits between them they take a few seconds.
const ATTEMPTS: u32 = 12;
/// The wait after the first conflict; each is at most twice the one before, and no longer than the cap.
const WAIT_MS: u64 = 4;
const WAIT_CAP_MS: u64 = 500;

/// A store over any `Backend`.
pub struct SqlStore {
    backend: Arc<dyn Backend>,
    /// Versions whose step names are known to be stored.
    pub(super) named: Arc<Mutex<BTreeSet<(String, u32)>>>,
}

/// One use case. It may run more than once, so it takes its input by reference.
pub type Work<I, T> = for<'s> fn(&'s mut dyn Session, &'s I) -> BoxFuture<'s, Result<T, Failure>>;

impl SqlStore {
    pub(super) fn new(backend: Arc<dyn Backend>) -> Self {
        Self { backend, named: Arc::default() }
    }

    /// Runs `work` with `input`.
    pub(super) fn run<I, T>(
        &self,
        access: Access,
        input: I,
        work: Work<I, T>,
    ) -> BoxFuture<'static, Result<T, StoreError>>
    where
        I: Send + Sync + 'static,
        T: Send + 'static,
    {
        let backend = Arc::clone(&self.backend);
        Box::pin(async move {
            let task = tokio::spawn(async move {
                let mut attempt = 1;
                loop {
                    match limited(&*backend, access, &input, work).await {
                        Err(Failure::Again(_)) if attempt < ATTEMPTS => {
                            tokio::time::sleep(wait_after(attempt)).await;
                            attempt += 1;
                        }
                        result => break result.map_err(Failure::into_error),
                    }
                }
            });
            match task.await {
                Ok(result) => result,
                Err(error) => match error.try_into_panic() {
                    Ok(panic) => std::panic::resume_unwind(panic),
                    // Only a runtime that shuts down cancels the task.
                    Err(_) => Err(StoreError::Unavailable(sqlx::Error::PoolClosed)),
                },
            }
        })
    }

    pub(super) fn writes_side_by_side(&self) -> bool {
        self.backend.writes_side_by_side()
    }

    pub(super) fn connections_of_backend(&self) -> Connections {
        self.backend.connections()
    }

    pub(super) fn close_backend(&self) -> BoxFuture<'_, ()> {
        self.backend.close()
    }
}

async fn limited<I, T>(backend: &dyn Backend, access: Access, input: &I, work: Work<I, T>) -> Result<T, Failure> {
    let attempt = attempt(backend, access, input, work);
    match backend.time_limit() {
        None => attempt.await,
        // The session is dropped with the attempt, and closes its connection.
        Some(limit) => match tokio::time::timeout(limit, attempt).await {
            Ok(result) => result,
            Err(_) => Err(Failure::Final(StoreError::Unavailable(sqlx::Error::PoolTimedOut))),
        },
    }
}

async fn attempt<I, T>(backend: &dyn Backend, access: Access, input: &I, work: Work<I, T>) -> Result<T, Failure> {
    let mut session = backend.acquire(access).at("store.acquire").await?;
    if access == Access::Read {
        return work(&mut *session, input).await;
    }
    session.begin(access).at("store.begin").await?;
    let outcome: Result<_, Box<dyn Any + Send>> = AssertUnwindSafe(work(&mut *session, input)).catch_unwind().await;
    if let Ok(Ok(done)) = outcome {
        session.commit().at("store.commit").await?;
        return Ok(done);
    }
    // Where even this fails the connection is closed, which rolls back as well.
    let _ = session.rollback().at("store.rollback").await;
    match outcome {
        Ok(result) => result,
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

/// Twice as long each time, and never the same for two: those who met once should not meet again.
fn wait_after(attempt: u32) -> Duration {
    let longest = WAIT_MS.saturating_mul(1 << attempt.min(20)).min(WAIT_CAP_MS);
    let random = RandomState::new().hash_one(attempt);
    Duration::from_millis(longest / 2 + random % (longest / 2))
}
