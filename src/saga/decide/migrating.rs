//! A migration in a batch: both versions are looked up, the machine moves the order, and a dry run keeps nothing of it.

use std::sync::Arc;

use super::deciding::Deciding;
use crate::saga::machine;
use crate::saga::migration::{Migration, MigrationAnswer, MigrationOutcome};
use crate::saga::order::{Circumstances, OrderKey};

impl Deciding<'_> {
    pub(super) fn migrate(&mut self, key: &OrderKey, migration: &Migration) {
        let outcome = self.migrated(key, migration).unwrap_or_else(MigrationOutcome::Refused);
        self.changes.migrations.push(MigrationAnswer { key: key.clone(), outcome });
    }

    fn migrated(&mut self, key: &OrderKey, migration: &Migration) -> Result<MigrationOutcome, String> {
        if let Some(why) = self.loaded.corrupt.get(key) {
            return Err(format!("its stored row cannot be read: {why}"));
        }
        let order = self.order(key).ok_or("there is no such order")?.clone();
        if order.version == migration.to {
            return Ok(MigrationOutcome::Already);
        }
        if order.version != migration.from {
            return Err(format!("it is on version {}, not on {}", order.version, migration.from));
        }
        let version = |version| self.plan.catalog.version(&key.saga, version).cloned();
        let unknown = |version| format!("version {version} of saga {} is not known here", key.saga);
        let from = version(migration.from).ok_or_else(|| unknown(migration.from))?;
        let to = version(migration.to).ok_or_else(|| unknown(migration.to))?;
        let sequence = order.sequence + 1;
        // Stored messages as the new version reads them.
        let mut working = self.begin_working(key, &to, self.loaded.now);
        if let Some(known) = self.working.get(key) {
            working.entries.clone_from(&known.entries);
            working.is_new = known.is_new;
            working.attributes_changed = known.attributes_changed;
            for (sequence, event) in &known.stored {
                working.stored.entry(*sequence).or_insert_with(|| event.clone());
            }
        }
        let with = Circumstances {
            now: self.loaded.now,
            mode: self.loaded.modes.get(&key.saga).copied().unwrap_or(to.mode),
            // Moving an order turns nothing back.
            braked: false,
            doubts: &self.doubts,
        };
        let done = machine::migrate(&from, &to, order, &mut working.stored, migration, &with);
        let machine::Migrating { outcome, doubts, effects } = done.map_err(|misfit| misfit.0)?;
        if !migration.dry_run {
            working.order = outcome.order;
            working.entries.extend(outcome.entries);
            working.saga = Arc::clone(&to);
            self.working.insert(key.clone(), working);
            self.send(key, outcome.withdrawn, outcome.outbox);
            for doubt in doubts {
                self.doubt(doubt);
            }
        }
        Ok(MigrationOutcome::Moved { sequence, effects })
    }
}
