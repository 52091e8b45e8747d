//! SQLite in a file, or in memory for tests and the simulator.
//!
//! One connection writes, with `BEGIN IMMEDIATE` always: a transaction that reads first and then wants to write fails at once
//! when another writes. Readers have connections of their own and see the last commit (WAL). Every commit reaches the disk
//! (`synchronous=FULL`), because a message is acknowledged after it. In memory there is one connection for everything.

mod bind;

use std::io::Read as _;
use std::str::FromStr as _;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use sqlx::pool::PoolConnection;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions as _, Connection as _, Executor as _, Sqlite, SqliteConnection};

use super::run::SqlStore;
use super::session::{Access, Backend, Failure, Said, Session, classify};
use super::statement::{Bind, Row, Sql};
use super::{Connections, StoreError, migrations};
use crate::clock::{Clock, System};

/// Readers beside the writer: the API of a small installation.
const READERS: u32 = 4;
/// How long a call waits for the writer's turn.
const ACQUIRE_LIMIT: Duration = Duration::from_secs(30);
/// How long to wait for another process that writes.
const BUSY_LIMIT: Duration = Duration::from_secs(5);
/// Statements kept prepared; there are about a hundred.
const STATEMENTS: usize = 200;
/// Pages kept in memory by each connection, in KiB (negative is SQLite's way to say KiB).
const CACHE: &str = "-65536";

/// Migrates the file at `url` (`sqlite://escrow.db`, or `sqlite::memory:`) and opens it; creates it if it is not there.
///
/// # Errors
/// [`StoreError::Unavailable`] when the file cannot be opened, [`StoreError::Unsupported`] when it is not one this program can
/// serve.
pub async fn connect(url: &str) -> Result<SqlStore, StoreError> {
    connect_with_clock(url, Arc::new(System)).await
}

/// As [`connect`], with the time from `clock`.
///
/// # Errors
/// As [`connect`].
pub async fn connect_with_clock(url: &str, clock: Arc<dyn Clock>) -> Result<SqlStore, StoreError> {
    let options = options(url)?;
    let pool = |connections: u32| {
        SqlitePoolOptions::new()
            .max_connections(connections)
            .min_connections(1)
            .acquire_timeout(ACQUIRE_LIMIT)
            // A connection to memory is the database: it must stay.
            .idle_timeout(None)
            .max_lifetime(None)
            .test_before_acquire(false)
    };
    let writer = pool(1).connect_with(options.clone()).await.map_err(|error| failure(error).into_error())?;
    let mut conn = writer.acquire().await.map_err(|error| failure(error).into_error())?;
    migrations::up(&migrations::sqlite(), &mut *conn).await?;
    drop(conn);
    let reader = if is_memory(url) {
        writer.clone()
    } else {
        pool(READERS).connect_with(options).await.map_err(|error| failure(error).into_error())?
    };
    Ok(SqlStore::new(Arc::new(Pools { writer, reader, clock })))
}

/// A connection that cannot write, to a file that is there; nothing is migrated, and no file is made beside it.
pub(super) async fn only_read(url: &str) -> Result<impl Backend + use<>, StoreError> {
    let options = SqliteConnectOptions::from_str(url)
        .map_err(|error| StoreError::Unsupported(format!("the database URL cannot be read: {error}")))?;
    let log = format!("{}-wal", options.get_filename().display());
    // Where nobody writes, not even a lock is needed; a reader that takes one would leave files behind.
    let at_rest = !std::path::Path::new(&log).exists();
    let options = options.create_if_missing(false).read_only(true).immutable(at_rest).busy_timeout(BUSY_LIMIT);
    let reader = SqlitePoolOptions::new().max_connections(1).connect_with(options).await;
    let reader = reader.map_err(|error| failure(error).into_error())?;
    Ok(Pools { writer: reader.clone(), reader, clock: Arc::new(System) })
}

/// How the file at `url` is written, from its own header: a reader that takes no locks is not told. `None` where there is no file.
pub(super) fn journal_mode(url: &str) -> Result<Option<&'static str>, StoreError> {
    // "File format write version" and "read version" of SQLite's header: 2 is a write-ahead log.
    const VERSIONS: std::ops::Range<usize> = 18..20;
    let options = options(url)?;
    let mut header = [0; VERSIONS.end];
    let read = std::fs::File::open(options.get_filename()).and_then(|mut file| file.read_exact(&mut header));
    Ok(read.ok().map(|()| if header[VERSIONS] == [2, 2] { "wal" } else { "delete" }))
}

/// Brings the tables at `url` up to this program's version, and says which that is.
///
/// # Errors
/// As [`connect`].
pub async fn migrate(url: &str) -> Result<i64, StoreError> {
    let mut conn = alone(url).await?;
    let version = migrations::up(&migrations::sqlite(), &mut conn).await?;
    conn.close().await.map_err(|error| failure(error).into_error())?;
    Ok(version)
}

/// Takes the tables at `url` back to `target`; loses what they held.
///
/// # Errors
/// As [`connect`].
pub async fn migrate_down(url: &str, target: i64) -> Result<(), StoreError> {
    let mut conn = alone(url).await?;
    migrations::down(&migrations::sqlite(), &mut conn, target).await?;
    conn.close().await.map_err(|error| failure(error).into_error())
}

async fn alone(url: &str) -> Result<SqliteConnection, StoreError> {
    options(url)?.connect().await.map_err(|error| failure(error).into_error())
}

fn is_memory(url: &str) -> bool {
    url.contains(":memory:") || url.contains("mode=memory")
}

fn options(url: &str) -> Result<SqliteConnectOptions, StoreError> {
    let options = SqliteConnectOptions::from_str(url)
        .map_err(|error| StoreError::Unsupported(format!("the database URL cannot be read: {error}")))?;
    Ok(options
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(BUSY_LIMIT)
        .statement_cache_capacity(STATEMENTS)
        .pragma("cache_size", CACHE))
}

fn failure(error: sqlx::Error) -> Failure {
    classify(error, said)
}

/// What SQLite's (extended) result code amounts to.
fn said(code: &str) -> Said {
    match code.parse::<u32>().map(|code| code & 0xff) {
        // Constraint, too big, mismatch, range.
        Ok(19 | 18 | 20 | 25) => Said::Refused,
        // Not a database, or a damaged one.
        Ok(11 | 26) => Said::Corrupt,
        // A statement it does not understand: the tables are not ours.
        Ok(1) => Said::Unsupported,
        Ok(_) | Err(_) => Said::Unavailable,
    }
}

struct Pools {
    writer: SqlitePool,
    reader: SqlitePool,
    clock: Arc<dyn Clock>,
}

impl Backend for Pools {
    fn acquire(&self, access: Access) -> BoxFuture<'_, Result<Box<dyn Session>, Failure>> {
        Box::pin(async move {
            let pool = match access {
                Access::Read | Access::Snapshot => &self.reader,
                Access::Write => &self.writer,
            };
            let conn = pool.acquire().await.map_err(failure)?;
            Ok(Box::new(Link { conn: Some(conn), open: false, clock: Arc::clone(&self.clock) }) as Box<dyn Session>)
        })
    }

    /// The file answers or fails; nobody else has to.
    fn writes_side_by_side(&self) -> bool {
        false
    }

    fn time_limit(&self) -> Option<Duration> {
        None
    }

    fn is_heard(&self) -> BoxFuture<'_, bool> {
        Box::pin(std::future::ready(true))
    }

    fn connections(&self) -> Connections {
        let all = u64::from(self.reader.size() + self.writer.size());
        let idle = (self.reader.num_idle() + self.writer.num_idle()) as u64;
        Connections { in_use: all.saturating_sub(idle), idle }
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            self.reader.close().await;
            self.writer.close().await;
        })
    }
}

/// A borrowed connection that is closed, not given back, when it is dropped inside a transaction.
struct Link {
    conn: Option<PoolConnection<Sqlite>>,
    open: bool,
    clock: Arc<dyn Clock>,
}

impl Link {
    fn conn(&mut self) -> Result<&mut SqliteConnection, Failure> {
        match &mut self.conn {
            Some(conn) => Ok(&mut *conn),
            None => Err(failure(sqlx::Error::PoolClosed)),
        }
    }

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
            let query = bind::query(sql, binds, self.clock.now()).map_err(failure)?;
            let rows = query.fetch_all(self.conn()?).await.map_err(failure)?;
            Ok(rows.into_iter().map(Row::Sqlite).collect())
        })
    }

    fn execute(&mut self, sql: Sql, binds: Vec<Bind>) -> BoxFuture<'_, Result<u64, Failure>> {
        Box::pin(async move {
            let query = bind::query(sql, binds, self.clock.now()).map_err(failure)?;
            Ok(query.execute(self.conn()?).await.map_err(failure)?.rows_affected())
        })
    }

    fn begin(&mut self, access: Access) -> BoxFuture<'_, Result<(), Failure>> {
        let sql = match access {
            Access::Read | Access::Snapshot => "BEGIN",
            Access::Write => "BEGIN IMMEDIATE",
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
