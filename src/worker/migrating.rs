//! Moving open orders to another version of their saga, a page of them at a time.
//!
//! ```text
//!   list a page of open orders ─▶ those on `from` ─▶ a hundred at a time through Store::apply, like any command ─▶ answers
//! ```
//!
//! Each order is moved, or refused, for itself, under its own lock and by one entry of its own trail; a batch of them holds its
//! locks for a moment, so what arrives meanwhile waits no longer than behind any other batch. A crash leaves some moved and
//! some not, and asking again does the rest: an order that is there already is left as it is. Nothing is remembered between
//! pages. Orders only move to the version that opens new ones, because its bindings stand; going back begins with
//! [`Commands::apply_version`].

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::saga::decide::Work;
use crate::saga::machine::reads_alike;
use crate::saga::migration::{Migration, MigrationAnswer, MigrationOutcome};
use crate::saga::order::{OrderKey, Status};
use crate::store::{Listed, OrderFilter, Page};

use super::commands::{CommandError, Commands};
use super::definitions::{self, DefinitionError};

/// Orders moved in one transaction: their locks are held for a moment only.
const AT_ONCE: usize = 100;

impl Commands {
    /// Moves one page of those open orders of a saga that the filter names, or says what moving them would do. Orders on other
    /// versions are passed over, unless they are asked for by id.
    ///
    /// # Errors
    /// As [`CommandError`]: no order was touched, unless the database was lost half-way.
    pub async fn migrate(
        &self,
        saga: String,
        migration: Migration,
        filter: OrderFilter,
        page: Page,
    ) -> Result<Listed<MigrationAnswer>, CommandError> {
        self.check(&saga, &migration).await?;
        let is_open = |status: &Status| !status.is_ended();
        let all = filter.statuses.is_empty();
        let statuses = Status::ALL.into_iter().filter(|it| is_open(it) && (all || filter.statuses.contains(it)));
        let statuses: Vec<Status> = statuses.collect();
        let by_id = filter.order_id.is_some();
        if statuses.is_empty() && !by_id {
            // Only ended orders are meant, and a filter without statuses would name all.
            return Ok(Listed { items: Vec::new(), next_cursor: None });
        }
        let filter = OrderFilter {
            sagas: vec![saga],
            // Asked for by id, one that has ended is told so.
            statuses: if by_id { Vec::new() } else { statuses },
            ..filter
        };
        let listed = self.escrow.store.list_orders(filter, page).await?;
        if by_id && listed.items.is_empty() {
            return Err(CommandError::NotFound);
        }
        let meant = listed.items.into_iter().filter(|order| by_id || order.version == migration.from);
        let keys: Vec<OrderKey> = meant.map(|order| order.key).collect();
        let migration = Arc::new(migration);
        let mut answers = Vec::with_capacity(keys.len());
        for keys in keys.chunks(AT_ONCE) {
            answers.extend(self.migrate_batch(keys, &migration).await?);
        }
        Ok(Listed { items: answers, next_cursor: listed.next_cursor })
    }

    async fn migrate_batch(
        &self,
        keys: &[OrderKey],
        migration: &Arc<Migration>,
    ) -> Result<Vec<MigrationAnswer>, CommandError> {
        let work = keys.iter().map(|key| Work::Migrate(key.clone(), Arc::clone(migration))).collect();
        let committed = self.escrow.commit_each(work).await?;
        let mut answers: Vec<MigrationAnswer> =
            committed.into_iter().flat_map(|committed| committed.changes.migrations).collect();
        let answered: BTreeSet<OrderKey> = answers.iter().map(|answer| answer.key.clone()).collect();
        let refused = keys.iter().filter(|key| !answered.contains(key)).map(|key| MigrationAnswer {
            key: key.clone(),
            outcome: MigrationOutcome::Refused("the database refuses it; the log says why".to_owned()),
        });
        answers.extend(refused);
        Ok(answers)
    }

    async fn check(&self, saga: &str, migration: &Migration) -> Result<(), CommandError> {
        let (from, to) = (migration.from, migration.to);
        if from == to {
            return Err(CommandError::Misfit(format!("orders on version {from} are there already")));
        }
        let catalog = self.versions(saga, &[from, to]).await?;
        let (Some(old), Some(new)) = (catalog.version(saga, from), catalog.version(saga, to)) else {
            return Err(CommandError::NotFound);
        };
        let opening = catalog.newest(saga).map_or(to, |opening| opening.version);
        if opening != to {
            let is_next = catalog.applied_last(saga).is_some_and(|last| last.version == to);
            let what = if is_next {
                format!(
                    "the bindings of version {to} do not stand yet; ask again when `escrow saga show {saga}` says so"
                )
            } else {
                format!("to go to {to}, first let it open new orders: `escrow saga version {saga} {to}`")
            };
            let why = format!("orders move to the version that opens new ones, which is {opening}: {what}");
            return Err(CommandError::Misfit(why));
        }
        reads_alike(old, new).map_err(|misfit| CommandError::Misfit(misfit.0))
    }

    /// The definitions followed, with these versions of a saga; what another replica stored meanwhile is read first.
    async fn versions(&self, saga: &str, wanted: &[u32]) -> Result<Arc<crate::saga::catalog::Catalog>, CommandError> {
        let lacks = |wanted: &u32| self.escrow.catalog().version(saga, *wanted).is_none();
        if wanted.iter().any(lacks) {
            self.refresh().await?;
        }
        let catalog = self.escrow.catalog();
        match wanted.iter().find(|version| catalog.version(saga, **version).is_none()) {
            None => Ok(catalog),
            Some(unknown) => {
                let mut known: Vec<u32> = catalog.versions(saga).map(|saga| saga.version).collect();
                known.sort_unstable();
                let known: Vec<String> = known.iter().map(ToString::to_string).collect();
                Err(CommandError::Misfit(format!(
                    "saga {saga} has no version {unknown}; stored are {}",
                    known.join(", ")
                )))
            }
        }
    }

    async fn refresh(&self) -> Result<(), CommandError> {
        definitions::refresh(&self.escrow).await.map_err(|error| match error {
            DefinitionError::Store(error) => CommandError::Store(error),
            other @ (DefinitionError::Mistakes(_)
            | DefinitionError::Changed { .. }
            | DefinitionError::Stored { .. }) => CommandError::Misfit(other.to_string()),
        })
    }

    /// Lets new orders open on a stored version, once its bindings stand: the way back from a newer one, and forth again. Orders
    /// that are open stay where they are.
    ///
    /// # Errors
    /// As [`CommandError`].
    pub async fn apply_version(
        &self,
        saga: String,
        version: u32,
        actor: String,
        reason: String,
    ) -> Result<(), CommandError> {
        let catalog = self.versions(&saga, &[version]).await?;
        // Asked twice is done once; a file may have raised it meanwhile, which this replica need not know yet.
        let rows = self.escrow.store.definitions().await?;
        let is_last = definitions::applied_last(&rows, &saga) == Some(version);
        if !is_last {
            self.escrow.store.apply_version(saga.clone(), version, actor, reason).await?;
        }
        if !is_last || catalog.applied_last(&saga).is_some_and(|last| last.version != version) {
            self.refresh().await?;
        }
        Ok(())
    }
}
