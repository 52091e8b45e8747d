//! How every use case runs: in a task of its own, on a borrowed connection, again after a conflict.
//!
//! ```text
//!   caller ──spawn──▶ acquire ─▶ begin ─▶ work(session, input) ─▶ commit ──▶ answer
//!     (may go away)      ▲                    │ conflict, deadlock
//!                        └──── roll back, wait a little ◀┘
//! ```
//!
//! A statement may take its time as long as the database is heard. When it is not, over a line of its own either, the attempt is given up,
//! so that a healthy replica gets the tap within seconds; see `docs/decisions/0033-a-silent-database-is-asked-elsewhere.md`.
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

/// An attempt that takes longer than this makes us ask whether the database is there at all. With the limit of that question it
/// is the five seconds after which a replica that cannot commit lets its tap go.
const QUIET: Duration = Duration::from_secs(2);

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
    // It has a limit of its own, and is not to be cancelled.
    let session = backend.acquire(access).at("store.acquire").await?;
    let attempt = attempt(session, access, input, work);
    let Some(limit) = backend.time_limit() else { return attempt.await };
    tokio::select! {
        biased;
        result = attempt => result,
        // The session is dropped with the attempt, and closes its connection: of what it had asked for, no more than the one statement
        // under way can still be done.
        why = unheard(backend, limit) => {
            let error = std::io::Error::new(std::io::ErrorKind::TimedOut, why);
            Err(Failure::Final(StoreError::Unavailable(sqlx::Error::Io(error))))
        }
    }
}

/// Ends when an attempt has to be given up, and says why.
async fn unheard(backend: &dyn Backend, limit: Duration) -> &'static str {
    let silence = async {
        loop {
            tokio::time::sleep(QUIET).await;
            if !backend.is_heard().await {
                return;
            }
        }
    };
    match tokio::time::timeout(limit, silence).await {
        Ok(()) => "the database does not answer, and says nothing to a new connection either",
        Err(_) => "the database answers, but was not done within a minute",
    }
}

async fn attempt<I, T>(
    mut session: Box<dyn Session>,
    access: Access,
    input: &I,
    work: Work<I, T>,
) -> Result<T, Failure> {
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

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::super::statement::{Bind, Row, Sql};
    use super::*;

    /// A database that takes this long for a statement, and is heard up to that moment.
    struct Slow {
        takes: Duration,
        heard_until: Instant,
    }

    struct Line(Duration);

    impl Session for Line {
        fn fetch(&mut self, _: Sql, _: Vec<Bind>) -> BoxFuture<'_, Result<Vec<Row>, Failure>> {
            Box::pin(async { Ok(Vec::new()) })
        }

        fn execute(&mut self, _: Sql, _: Vec<Bind>) -> BoxFuture<'_, Result<u64, Failure>> {
            Box::pin(async { Ok(0) })
        }

        fn begin(&mut self, _: Access) -> BoxFuture<'_, Result<(), Failure>> {
            Box::pin(async { Ok(()) })
        }

        fn commit(&mut self) -> BoxFuture<'_, Result<(), Failure>> {
            let takes = self.0;
            Box::pin(async move {
                tokio::time::sleep(takes).await;
                Ok(())
            })
        }

        fn rollback(&mut self) -> BoxFuture<'_, Result<(), Failure>> {
            Box::pin(async { Ok(()) })
        }
    }

    impl Backend for Slow {
        fn acquire(&self, _: Access) -> BoxFuture<'_, Result<Box<dyn Session>, Failure>> {
            Box::pin(async { Ok(Box::new(Line(self.takes)) as Box<dyn Session>) })
        }

        fn writes_side_by_side(&self) -> bool {
            false
        }

        fn time_limit(&self) -> Option<Duration> {
            Some(Duration::from_mins(1))
        }

        fn is_heard(&self) -> BoxFuture<'_, bool> {
            Box::pin(async {
                let is_heard = Instant::now() < self.heard_until;
                tokio::time::sleep(Duration::from_secs(if is_heard { 0 } else { 3 })).await;
                is_heard
            })
        }

        fn connections(&self) -> Connections {
            Connections { in_use: 1, idle: 0 }
        }

        fn close(&self) -> BoxFuture<'_, ()> {
            Box::pin(std::future::ready(()))
        }
    }

    /// What a write comes to that takes `takes` while the database is heard for `heard`, and after how many virtual seconds.
    async fn write(takes: u64, heard: u64) -> (Result<u32, String>, u64) {
        let began = Instant::now();
        let backend = Slow { takes: Duration::from_secs(takes), heard_until: began + Duration::from_secs(heard) };
        let store = SqlStore::new(Arc::new(backend));
        let answer = store.run(Access::Write, 7, |_, given| Box::pin(async move { Ok(*given) })).await;
        (answer.map_err(|error| format!("{error:?}")), began.elapsed().as_secs())
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_database_is_waited_for_and_a_silent_one_given_up() {
        assert_eq!(write(0, 0).await, (Ok(7), 0), "nobody asks");
        assert_eq!(write(59, 100).await, (Ok(7), 59), "slow, and heard");
        for (heard, given_up) in [(0, 5), (9, 13)] {
            let (answer, after) = write(59, heard).await;
            assert!(answer.unwrap_err().contains("says nothing to a new connection"));
            assert_eq!(after, given_up);
        }
        let (answer, after) = write(1_000, 1_000).await;
        assert!(answer.unwrap_err().contains("was not done within a minute"));
        assert_eq!(after, 60);
    }
}
