//! The tables of both dialects, compiled in, and the way from one version to the next.
//!
//! Files and conventions: `migrations/README.md`.

use sqlx::SqlSafeStr as _;
use sqlx::migrate::{Migrate, MigrateError, Migration, MigrationType, Migrator};

use super::StoreError;

/// The version this program writes.
pub const NEWEST: i64 = 8;

macro_rules! migration {
    ($dialect:literal, $($version:literal $name:literal),+) => {
        Migrator::with_migrations(vec![$(
            Migration::new(
                $version,
                $name.into(),
                MigrationType::ReversibleUp,
                include_str!(concat!("../../migrations/", $dialect, "/", $name, ".up.sql")).into_sql_str(),
                false,
            ),
            Migration::new(
                $version,
                $name.into(),
                MigrationType::ReversibleDown,
                include_str!(concat!("../../migrations/", $dialect, "/", $name, ".down.sql")).into_sql_str(),
                false,
            ),
        )+])
    };
}

/// PostgreSQL's.
pub fn postgres() -> Migrator {
    migration!("postgres", 1 "0001_orders", 2 "0002_sagas_and_bulk", 3 "0003_versions", 4 "0004_tap_log", 5 "0005_incidents",
        6 "0006_coverage", 7 "0007_figures", 8 "0008_actions_and_notices")
}

/// SQLite's.
pub fn sqlite() -> Migrator {
    migration!("sqlite", 1 "0001_orders", 2 "0002_sagas_and_bulk", 3 "0003_versions", 4 "0004_tap_log", 5 "0005_incidents",
        6 "0006_coverage", 7 "0007_figures", 8 "0008_actions_and_notices")
}

/// Applies what is missing and says the version reached.
///
/// # Errors
/// [`StoreError::Unsupported`] for a database that is newer than the program, was changed by hand, or stopped half-way.
pub async fn up<C: Migrate>(migrator: &Migrator, conn: &mut C) -> Result<i64, StoreError> {
    migrator.run_direct(None, conn, false).await.map_err(explain)?;
    Ok(NEWEST)
}

/// Takes back everything above `target`.
///
/// # Errors
/// As [`up`].
pub async fn down<C: Migrate>(migrator: &Migrator, conn: &mut C, target: i64) -> Result<(), StoreError> {
    conn.lock().await.map_err(explain)?;
    let table = migrator.table_name.as_ref();
    conn.ensure_migrations_table(table).await.map_err(explain)?;
    let applied = conn.list_applied_migrations(table).await.map_err(explain)?;
    let steps = migrator.iter().rev().filter(|step| step.migration_type.is_down_migration() && step.version > target);
    for step in steps.filter(|step| applied.iter().any(|it| it.version == step.version)) {
        conn.revert(table, step).await.map_err(explain)?;
    }
    conn.unlock().await.map_err(explain)
}

fn explain(error: MigrateError) -> StoreError {
    match error {
        MigrateError::VersionMissing(found) => StoreError::Unsupported(format!(
            "it is at version {found}, which a newer Escrow wrote; this one knows versions up to {NEWEST}: run the newer program"
        )),
        MigrateError::VersionMismatch(version) => StoreError::Unsupported(format!(
            "its version {version} was made by another text than this program has: it was not made by a released Escrow"
        )),
        MigrateError::Dirty(version) => StoreError::Unsupported(format!(
            "the change to version {version} stopped half-way: restore it, or repair it by hand"
        )),
        MigrateError::ExecuteMigration(error, version) if error.as_database_error().is_some() => {
            StoreError::Unsupported(format!("the change to version {version} failed: {error}"))
        }
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => StoreError::Unavailable(error),
        other => StoreError::Unsupported(other.to_string()),
    }
}
