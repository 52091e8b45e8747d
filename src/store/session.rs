//! One connection in use, and the pool it comes from: all that the two databases do differently, apart from the SQL.
//!
//! A session between `begin` and its end is *open*. An open session that is dropped closes its connection instead of giving
//! it back: nobody ever borrows a connection that is inside someone else's transaction, whatever was cancelled and wherever.

use std::time::Duration;

use futures_util::future::BoxFuture;
use sqlx::error::ErrorKind;

use super::statement::{Bind, Row, Sql};
use super::{Connections, StoreError};

/// What a session is wanted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Single statements that read.
    Read,
    /// Several statements that must see the same moment.
    Snapshot,
    /// A transaction that writes.
    Write,
}

/// How a piece of work fails.
#[derive(Debug)]
pub enum Failure {
    /// Someone else was faster: the same work, from its beginning, can succeed.
    Again(sqlx::Error),
    Final(StoreError),
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Final(error)
    }
}

impl Failure {
    /// A conflict the database did not notice by itself.
    pub fn conflict(what: &str) -> Self {
        Self::Again(sqlx::Error::Protocol(what.to_owned()))
    }

    /// As the caller is told it, once it is not tried again.
    pub fn into_error(self) -> StoreError {
        match self {
            Self::Again(error) => StoreError::Unavailable(error),
            Self::Final(error) => error,
        }
    }
}

/// One borrowed connection.
pub trait Session: Send {
    /// Runs a statement and gives its rows.
    fn fetch(&mut self, sql: Sql, binds: Vec<Bind>) -> BoxFuture<'_, Result<Vec<Row>, Failure>>;

    /// Runs a statement and says how many rows it changed.
    fn execute(&mut self, sql: Sql, binds: Vec<Bind>) -> BoxFuture<'_, Result<u64, Failure>>;

    /// Begins a transaction; the session is open from here on.
    fn begin(&mut self, access: Access) -> BoxFuture<'_, Result<(), Failure>>;

    fn commit(&mut self) -> BoxFuture<'_, Result<(), Failure>>;

    fn rollback(&mut self) -> BoxFuture<'_, Result<(), Failure>>;
}

/// Where sessions come from.
pub trait Backend: Send + Sync {
    fn acquire(&self, access: Access) -> BoxFuture<'_, Result<Box<dyn Session>, Failure>>;

    /// Whether two writing transactions can be under way at the same time.
    fn writes_side_by_side(&self) -> bool;

    /// The longest a piece of work may take before its connection is given up.
    fn time_limit(&self) -> Option<Duration>;

    /// Whether the database says anything, asked over a line of its own. Only asked where there is a time limit.
    fn is_heard(&self) -> BoxFuture<'_, bool>;

    /// How many connections there are now.
    fn connections(&self) -> Connections;

    fn close(&self) -> BoxFuture<'_, ()>;
}

/// What a failure is that both drivers report alike; `by_code` decides about what the database itself said.
pub fn classify(error: sqlx::Error, by_code: fn(&str) -> Said) -> Failure {
    use sqlx::Error as E;
    let said = match &error {
        E::Database(database) => match (database.kind(), database.code()) {
            (
                ErrorKind::UniqueViolation
                | ErrorKind::ForeignKeyViolation
                | ErrorKind::NotNullViolation
                | ErrorKind::CheckViolation,
                _,
            ) => Said::Refused,
            (_, Some(code)) => by_code(&code),
            (_, None) => Said::Unavailable,
        },
        E::Encode(_) | E::InvalidArgument(_) => Said::Refused,
        E::ColumnDecode { .. }
        | E::ColumnIndexOutOfBounds { .. }
        | E::ColumnNotFound(_)
        | E::Decode(_)
        | E::RowNotFound
        | E::TypeNotFound { .. } => Said::Corrupt,
        E::Configuration(_) => Said::Unsupported,
        // The rest is about connections. The enum may grow; backing off is the safe answer to what is not known.
        _ => Said::Unavailable,
    };
    match said {
        Said::Again => Failure::Again(error),
        Said::Unavailable => Failure::Final(StoreError::Unavailable(error)),
        Said::Refused => Failure::Final(StoreError::Refused(error)),
        Said::Corrupt => Failure::Final(StoreError::Corrupt(error.to_string())),
        Said::Unsupported => Failure::Final(StoreError::Unsupported(error.to_string())),
    }
}

/// What a database's word amounts to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said {
    Again,
    Unavailable,
    Refused,
    Corrupt,
    Unsupported,
}
