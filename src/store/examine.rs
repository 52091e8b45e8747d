//! How a database is, for `escrow doctor`: read in one transaction that cannot write, and without bringing the tables up to date.

use std::collections::BTreeMap;

use super::session::{Access, Backend, Failure, Session};
use super::statement::{Bind, sql};
use super::{BindingRow, DefinitionRow, StoreError, Switch, catalog, kind, migrations, postgres, sqlite};
use crate::clock::{Clock, System};
use crate::saga::time::Moment;

/// How a database is.
#[derive(Clone, Debug, PartialEq)]
pub struct Examined {
    pub is_postgres: bool,
    /// By name; those of PostgreSQL are its own, as a session of this user has them.
    pub settings: BTreeMap<String, String>,
    /// The version the tables are at; `None` where there are none.
    pub version: Option<i64>,
    /// The version this program writes.
    pub newest: i64,
    /// This machine's clock just before and after the server was asked for its own.
    pub asked: (Moment, Moment),
    /// What is stored; `None` unless the tables are at this program's version.
    pub stored: Option<Stored>,
}

/// What the tables hold about definitions and one tap.
#[derive(Clone, Debug, PartialEq)]
pub struct Stored {
    pub definitions: Vec<DefinitionRow>,
    pub bindings: Vec<BindingRow>,
    pub switch: Option<Switch>,
}

/// Looks at the database at `url`, and at what it holds about `tap`. Changes nothing.
///
/// # Errors
/// [`StoreError::Unavailable`] when it cannot be reached, [`StoreError::Unsupported`] when it cannot be one of ours.
pub async fn examine(url: &str, tap: &str) -> Result<Examined, StoreError> {
    let is_postgres = matches!(kind(url)?, super::Database::Postgres);
    let journal_mode = if is_postgres { None } else { sqlite::journal_mode(url)? };
    let backend: Box<dyn Backend> =
        if is_postgres { Box::new(postgres::only_read(url).await?) } else { Box::new(sqlite::only_read(url).await?) };
    // A task of its own: a cancelled `begin` would poison the connection.
    let tap = tap.to_owned();
    let task = tokio::spawn(async move {
        let examined = look(&*backend, is_postgres, &tap).await;
        backend.close().await;
        examined
    });
    match task.await {
        Ok(examined) => {
            let mut examined = examined.map_err(Failure::into_error)?;
            examined.settings.extend(journal_mode.map(|mode| ("journal_mode".to_owned(), mode.to_owned())));
            Ok(examined)
        }
        Err(error) => Err(StoreError::Corrupt(format!("a task of Escrow's own died: {error}"))),
    }
}

async fn look(backend: &dyn Backend, is_postgres: bool, tap: &str) -> Result<Examined, Failure> {
    let mut session = backend.acquire(Access::Snapshot).await?;
    session.begin(Access::Snapshot).await?;
    let examined = read(&mut *session, is_postgres, tap).await;
    session.rollback().await?;
    examined
}

async fn read(session: &mut dyn Session, is_postgres: bool, tap: &str) -> Result<Examined, Failure> {
    let before = System.now();
    let rows = session.fetch(sql!("settings"), Vec::new()).await?;
    let asked = (before, System.now());
    let settings =
        rows.iter().map(|row| Ok((row.get("name")?, row.get("value")?))).collect::<Result<_, StoreError>>()?;
    let version = version(session).await?;
    let stored = if version == Some(migrations::NEWEST) {
        Some(Stored {
            definitions: catalog::definitions(session).await?,
            bindings: catalog::bindings(session, tap).await?,
            switch: catalog::switch(session, tap).await?,
        })
    } else {
        None
    };
    Ok(Examined { is_postgres, settings, version, newest: migrations::NEWEST, asked, stored })
}

async fn version(session: &mut dyn Session) -> Result<Option<i64>, Failure> {
    let none: Vec<Bind> = Vec::new();
    let found = session.fetch(sql!("has_migrations"), none.clone()).await?;
    if found.first().map(|row| row.get::<i64>("found")).transpose()? != Some(1) {
        return Ok(None);
    }
    let rows = session.fetch(sql!("newest_migration"), none).await?;
    Ok(rows.first().map(|row| row.get("version")).transpose()?)
}
