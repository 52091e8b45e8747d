//! PostgreSQL 15 or newer, through a pool.
//!
//! - A connection is only ever borrowed by a task of its own (`super::run`), and one that is given up inside a transaction is
//!   closed (`Link`): a cancelled `begin` of the pinned sqlx would hand on a connection with an open transaction, in
//!   which later writes are acknowledged and lost.
//! - Plans are made for the values at hand (`force_custom_plan`): a generic plan made while a table was empty reads all of it.
//! - A server that only reads (a standby, a demoted primary) is refused at connecting.

mod bind;
mod heard;

use std::str::FromStr as _;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::{ConnectOptions as _, Connection as _, Executor as _, PgConnection, Postgres, Row as _};

use self::heard::Ear;
use super::run::SqlStore;
use super::session::{Access, Backend, Failure, Said, Session, classify};
use super::statement::{Bind, Row, Sql};
use super::{Connections, StoreError, migrations};

/// Enough for the loops and the API of one replica; a server has a hundred by default, for all replicas.
const CONNECTIONS: u32 = 12;
/// How long a call waits for a free connection.
const ACQUIRE_LIMIT: Duration = Duration::from_secs(5);
/// How long making a connection may take.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// The server ends a statement after 30 s, and a transaction that waits for us after 10 s: one that a silent line cut off holds its
/// rows no longer than that, and no replica needs that long between two statements.
const SETTINGS: &str = "SET plan_cache_mode = force_custom_plan; SET statement_timeout = '30s'; \
     SET idle_in_transaction_session_timeout = '10s'; SET lock_timeout = '10s'; SET jit = off";
/// After this the work is given up, though the server is there.
const WORK_LIMIT: Duration = Duration::from_mins(1);

/// Migrates the database at `url` and opens it.
///
/// # Errors
/// [`StoreError::Unavailable`] when it cannot be reached or only reads, [`StoreError::Unsupported`] when it is not one this
/// program can serve.
pub async fn connect(url: &str) -> Result<SqlStore, StoreError> {
    migrate(url).await?;
    let pool = PgPoolOptions::new()
        .max_connections(CONNECTIONS)
        .acquire_timeout(ACQUIRE_LIMIT)
        .after_connect(|conn, _| Box::pin(prepare(conn)))
        .connect_lazy_with(options(url)?);
    Ok(SqlStore::new(Arc::new(Pool { pool, ear: Ear::of(&options(url)?) })))
}

/// A connection for reading alone, also where the server only reads; nothing is migrated.
pub(super) async fn only_read(url: &str) -> Result<impl Backend + use<>, StoreError> {
    // A pool keeps to itself why it gets no connection.
    let trying = tokio::time::timeout(CONNECT_LIMIT, options(url)?.connect()).await;
    let tried = trying.unwrap_or(Err(sqlx::Error::PoolTimedOut)).map_err(|error| failure(error).into_error())?;
    let _ = tried.close().await;
    let pool = PgPoolOptions::new().max_connections(1).acquire_timeout(CONNECT_LIMIT).connect_lazy_with(options(url)?);
    Ok(Pool { pool, ear: Ear::of(&options(url)?) })
}

/// Brings the tables at `url` up to this program's version, and says which that is.
///
/// # Errors
/// As [`connect`].
pub async fn migrate(url: &str) -> Result<i64, StoreError> {
    let mut conn = alone(url).await?;
    let version = migrations::up(&migrations::postgres(), &mut conn).await?;
    // The work is done and committed; how the goodbye goes does not matter.
    let _ = conn.close().await;
    Ok(version)
}

/// Takes the tables at `url` back to `target`; loses what they held.
///
/// # Errors
/// As [`connect`].
pub async fn migrate_down(url: &str, target: i64) -> Result<(), StoreError> {
    let mut conn = alone(url).await?;
    migrations::down(&migrations::postgres(), &mut conn, target).await?;
    let _ = conn.close().await;
    Ok(())
}

/// A connection outside the pool, whose failure is told in full.
async fn alone(url: &str) -> Result<PgConnection, StoreError> {
    let options = options(url)?;
    let connecting = async {
        let mut conn = options.connect().await?;
        refuse_read_only(&mut conn).await?;
        Ok(conn)
    };
    let made = tokio::time::timeout(CONNECT_LIMIT, connecting).await;
    made.unwrap_or(Err(sqlx::Error::PoolTimedOut)).map_err(|error| failure(error).into_error())
}

fn options(url: &str) -> Result<PgConnectOptions, StoreError> {
    PgConnectOptions::from_str(url)
        .map(|options| options.application_name("escrow"))
        .map_err(|error| StoreError::Unsupported(format!("the database URL cannot be read: {error}")))
}

async fn prepare(conn: &mut PgConnection) -> Result<(), sqlx::Error> {
    conn.execute(SETTINGS).await?;
    refuse_read_only(conn).await
}

async fn refuse_read_only(conn: &mut PgConnection) -> Result<(), sqlx::Error> {
    let row = conn.fetch_one("SELECT current_setting('transaction_read_only')").await?;
    match row.try_get::<String, _>(0)?.as_str() {
        "off" => Ok(()),
        _ => Err(sqlx::Error::Protocol("the server only reads: it is a standby, or set so".to_owned())),
    }
}

fn failure(error: sqlx::Error) -> Failure {
    classify(error, said)
}

/// What an SQLSTATE amounts to.
fn said(code: &str) -> Said {
    match code {
        // Serialization failure, deadlock, lock not available.
        "40001" | "40P01" | "55P03" => Said::Again,
        "25006" => Said::Unavailable,
        _ => match code.get(..2) {
            // Data, integrity, and rows too large for an index.
            Some("22" | "23" | "54") => Said::Refused,
            // Tables or columns that are not there, no privilege, a feature the server lacks.
            Some("42" | "0A") => Said::Unsupported,
            _ => Said::Unavailable,
        },
    }
}

struct Pool {
    pool: PgPool,
    ear: Ear,
}

impl Backend for Pool {
    fn acquire(&self, _: Access) -> BoxFuture<'_, Result<Box<dyn Session>, Failure>> {
        Box::pin(async {
            let conn = self.pool.acquire().await.map_err(failure)?;
            Ok(Box::new(Link { conn: Some(conn), open: false }) as Box<dyn Session>)
        })
    }

    fn writes_side_by_side(&self) -> bool {
        true
    }

    fn time_limit(&self) -> Option<Duration> {
        Some(WORK_LIMIT)
    }

    fn is_heard(&self) -> BoxFuture<'_, bool> {
        Box::pin(self.ear.hears())
    }

    fn connections(&self) -> Connections {
        let (all, idle) = (u64::from(self.pool.size()), self.pool.num_idle() as u64);
        Connections { in_use: all.saturating_sub(idle), idle }
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            // Connections that do not come back in this time belong to a server that does not answer.
            let _ = tokio::time::timeout(ACQUIRE_LIMIT, self.pool.close()).await;
        })
    }
}

/// A borrowed connection that is closed, not given back, when it is dropped while open.
struct Link {
    conn: Option<PoolConnection<Postgres>>,
    open: bool,
}

impl Link {
    fn conn(&mut self) -> Result<&mut PgConnection, Failure> {
        match &mut self.conn {
            Some(conn) => Ok(&mut *conn),
            None => Err(failure(sqlx::Error::PoolClosed)),
        }
    }

    /// Runs `sql` with the connection marked open, and leaves it so unless the server has answered.
    fn control(&mut self, sql: &'static str, open_after: bool) -> BoxFuture<'_, Result<(), Failure>> {
        Box::pin(async move {
            self.open = true;
            self.conn()?.execute(sql).await.map_err(failure)?;
            self.open = open_after;
            Ok(())
        })
    }
}

impl Session for Link {
    fn fetch(&mut self, sql: Sql, binds: Vec<Bind>) -> BoxFuture<'_, Result<Vec<Row>, Failure>> {
        Box::pin(async move {
            let was_open = std::mem::replace(&mut self.open, true);
            let rows = bind::query(sql, binds).fetch_all(self.conn()?).await;
            self.open = was_open;
            Ok(rows.map_err(failure)?.into_iter().map(Row::Postgres).collect())
        })
    }

    fn execute(&mut self, sql: Sql, binds: Vec<Bind>) -> BoxFuture<'_, Result<u64, Failure>> {
        Box::pin(async move {
            let was_open = std::mem::replace(&mut self.open, true);
            let done = bind::query(sql, binds).execute(self.conn()?).await;
            self.open = was_open;
            Ok(done.map_err(failure)?.rows_affected())
        })
    }

    fn begin(&mut self, access: Access) -> BoxFuture<'_, Result<(), Failure>> {
        let sql = match access {
            Access::Read | Access::Write => "BEGIN",
            Access::Snapshot => "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
        };
        self.control(sql, true)
    }

    fn commit(&mut self) -> BoxFuture<'_, Result<(), Failure>> {
        self.control("COMMIT", false)
    }

    fn rollback(&mut self) -> BoxFuture<'_, Result<(), Failure>> {
        self.control("ROLLBACK", false)
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        if self.open
            && let Some(conn) = self.conn.take()
        {
            drop(conn.detach());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_of_the_server_says_what_to_do() {
        for (code, expected) in [
            ("40001", Said::Again),
            ("40P01", Said::Again),
            ("55P03", Said::Again),
            ("22021", Said::Refused),
            ("23505", Said::Refused),
            ("54000", Said::Refused),
            ("42P01", Said::Unsupported),
            ("25006", Said::Unavailable),
            ("53300", Said::Unavailable),
            ("57P01", Said::Unavailable),
            ("57014", Said::Unavailable),
            ("08006", Said::Unavailable),
            ("28P01", Said::Unavailable),
        ] {
            assert_eq!(said(code), expected, "{code}");
        }
    }
}
