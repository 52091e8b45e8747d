//! A binding goes when no open order's version needs it.
//!
//! Decided on what the database says, never on what one replica happens to know, and in doubt a binding stays: it costs
//! messages that are counted as ignored, while one that is missing costs an order its answer.
//!
//! ```text
//!   a version is idle:  no open orders · not the one applied last · and that one stands, applied ten minutes ago
//!        │
//!        ▼  what no version needs that is not idle
//!   written down as not bound ─▶ unbound ─▶ the facts are read once more ─▶ needed after all: bound again at once, and a gap
//! ```
//!
//! The tap's last binding to an exchange stays, unless a definition says that the exchange is not auto-delete: such an exchange
//! would be gone with it. That is said in the log, once. Nothing is ever unbound because Escrow stops.

use std::collections::{BTreeMap, BTreeSet};

use super::definitions::applied_last;
use super::looks::{Looks, stands, wanted, wanted_by};
use super::{WorkerError, looks};
use crate::saga::catalog::Catalog;
use crate::saga::time::{Moment, Span};
use crate::store::{BindingRow, DefinitionRow};

/// Between two readings of the facts: nothing here is in a hurry, and open orders have to be counted.
const FACTS_EVERY: Span = Span::from_secs(60);

/// How long a version is applied before those it replaced may be idle: replicas that have not noticed it yet, or could not bind
/// it, may still open orders on them.
const REPLACED_FOR: Span = Span::from_secs(600);

/// What the looks remember about letting go. Losing it costs a reading of the facts.
#[derive(Default)]
pub struct LettingGo {
    read_at: Option<Moment>,
    /// Exchanges whose last binding was kept, and said so.
    kept: BTreeSet<String>,
}

impl Looks {
    /// Unbinds what nothing needs any more.
    pub(super) async fn let_go(&mut self, now: Moment) -> Result<(), WorkerError> {
        let catalog = self.escrow.catalog();
        let has_several = catalog.newest_all().any(|saga| catalog.versions(&saga.name).nth(1).is_some());
        let is_early = self.letting_go.read_at.is_some_and(|at| now.since(at) < FACTS_EVERY);
        if !has_several || is_early {
            return Ok(());
        }
        self.letting_go.read_at = Some(now);
        let needed = self.needed(now).await?;
        for row in self.known.clone().into_values() {
            let still = needed.get(&row.exchange);
            let extra = |key: &String| still.is_none_or(|keys| !keys.contains(key));
            let keys: Vec<String> = row.keys.iter().flatten().filter(|key| extra(key)).cloned().collect();
            if still.is_none() {
                self.leave(row, keys, now).await?;
            } else if !keys.is_empty() {
                self.release(row, keys, now).await?;
            }
        }
        Ok(())
    }

    /// Reads the facts. From here on, idle versions are not watched; says what the others need: exchanges, with their keys.
    async fn needed(&self, now: Moment) -> Result<BTreeMap<String, Vec<String>>, WorkerError> {
        let rows = self.escrow.store.definitions().await?;
        let bindings = self.escrow.store.bindings(self.tap.name().to_owned()).await?;
        let catalog = self.escrow.catalog();
        self.escrow.rest(idle(&rows, &bindings, &catalog, now));
        let catalog = self.escrow.catalog();
        Ok(wanted(&catalog).into_iter().map(|wanted| (wanted.exchange.clone(), wanted.binding_keys())).collect())
    }

    /// An exchange nothing watches any more.
    async fn leave(&mut self, row: BindingRow, keys: Vec<String>, now: Moment) -> Result<(), WorkerError> {
        let exchange = row.exchange.clone();
        let is_known_to_stay = || {
            let catalog = self.escrow.catalog();
            let said = wanted_by(catalog.all()).into_iter().find(|wanted| wanted.exchange == exchange);
            said.and_then(|wanted| wanted.declare).is_some_and(|declare| !declare.auto_delete)
        };
        if row.bound && !is_known_to_stay() {
            if self.letting_go.kept.insert(exchange.clone()) {
                tracing::warn!(
                    exchange,
                    "no open order needs this exchange any more; the tap stays bound to it, because an auto-delete exchange would be \
                     deleted with its last binding: unbind it by hand if it is none"
                );
            }
            return Ok(());
        }
        if row.bound {
            self.release(row, keys, now).await?;
        }
        self.escrow.store.forget_binding(self.tap.name().to_owned(), exchange.clone()).await?;
        self.known.remove(&exchange);
        self.escrow.sight.looked(&exchange, None);
        Ok(())
    }

    async fn release(&mut self, row: BindingRow, keys: Vec<String>, now: Moment) -> Result<(), WorkerError> {
        let exchange = row.exchange.clone();
        tracing::info!(exchange, ?keys, "no open order needs these bindings any more: they go");
        // Written down first: a binding nobody knows of costs little, one that is missed is an order's answer.
        let rest = row.keys.iter().flatten().filter(|key| !keys.contains(key)).cloned().collect();
        let row = BindingRow { keys: Some(rest), ..row };
        self.escrow.store.save_binding(self.tap.name().to_owned(), row.clone()).await?;
        self.known.insert(exchange.clone(), row);
        self.tap.unbind(exchange.clone(), keys.clone()).await?;
        // Somebody may have applied a version again meanwhile, or an order may have come back.
        let needed = self.needed(now).await?;
        if needed.get(&exchange).is_some_and(|still| keys.iter().any(|key| still.contains(key))) {
            let catalog = self.escrow.catalog();
            self.tap.look(wanted(&catalog)).await?;
            let until = self.escrow.store.now().await?;
            tracing::warn!(
                exchange,
                "a binding was needed after all: it is back, and what was published meanwhile is unseen"
            );
            self.escrow.store.record_doubts(looks::gaps(&catalog, &exchange, now, until)).await?;
        }
        Ok(())
    }
}

/// The versions nothing needs, by what is stored.
fn idle(rows: &[DefinitionRow], bindings: &[BindingRow], catalog: &Catalog, now: Moment) -> BTreeSet<(String, u32)> {
    let is_idle = |row: &&DefinitionRow| {
        let Some(last) = applied_last(rows, &row.saga).filter(|last| *last != row.version) else { return false };
        let applied_at = rows.iter().find(|other| other.saga == row.saga && other.version == last);
        let is_settled = applied_at.is_some_and(|last| now.since(last.applied_at) >= REPLACED_FOR);
        let is_ready = catalog.version(&row.saga, last).is_some_and(|last| stands(last, bindings));
        row.open_orders == 0 && is_settled && is_ready
    };
    rows.iter().filter(is_idle).map(|row| (row.saga.clone(), row.version)).collect()
}
