//! Carries out actions on many orders, one order after the other, at the rate the person asked for.
//!
//! ```text
//!   claim ──▶ the order is still what the filter names? ──▶ act, once for this action and order ──▶ settle ──▶ claim …
//! ```
//!
//! Everything is rows: any replica carries on what another began, one at a time by a lease. A crash repeats nothing, for the
//! command has the same key when its order comes again.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use uuid::Uuid;

use crate::faults::Step as _;
use crate::saga::input::Ask;
use crate::saga::time::Span;
use crate::store::{BulkOutcome, BulkTask, BulkTurn, OrderFilter, Page, StoreError};

use super::commands::{CommandError, Commands};
use super::{Escrow, Ran, Worker, WorkerError, chain_of};

/// One order takes milliseconds; a replica that dies holds the action up no longer than this.
const LEASE: Span = Span::from_secs(15);

/// How often to look without a nudge: another replica may have died with the lease.
const TICK: Duration = Duration::from_secs(1);

/// Never looks more often than this, whatever the rate.
const PAUSE_MIN: Duration = Duration::from_millis(5);

/// Carries out bulk actions.
pub struct Bulk {
    escrow: Arc<Escrow>,
    commands: Commands,
    owner: Uuid,
}

impl Bulk {
    /// A loop over all actions.
    pub fn new(escrow: Arc<Escrow>, commands: Commands) -> Self {
        Self { escrow, commands, owner: Uuid::new_v4() }
    }

    async fn carry_out(&self, task: &BulkTask) -> Result<BulkOutcome, StoreError> {
        if let Some(sequence) = task.answered {
            return Ok(BulkOutcome::Done(sequence));
        }
        if !self.is_still_named(task).await? {
            let gone = self.escrow.store.find_order(task.key.clone()).await?.is_none();
            let why = "the order is not what the filter names any more";
            return Ok(if gone { BulkOutcome::Gone } else { BulkOutcome::Refused(why.to_owned()) });
        }
        let ask = Ask {
            key: task.key.clone(),
            action: task.ask.action,
            step: task.ask.step.clone(),
            actor: task.ask.actor.clone(),
            reason: task.ask.reason.clone(),
            idempotency_key: Some(task.once.clone()),
        };
        match self.commands.act(ask).await {
            Ok(sequence) => Ok(BulkOutcome::Done(sequence)),
            Err(CommandError::NotFound) => Ok(BulkOutcome::Gone),
            Err(CommandError::Misfit(why) | CommandError::UnknownStep(why)) => Ok(BulkOutcome::Refused(why)),
            Err(CommandError::Store(error @ StoreError::Unavailable(_))) => Err(error),
            // The others must not wait for this one.
            Err(CommandError::Store(error)) => {
                tracing::error!(error = %chain_of(&error), order = %task.key, "an order of a bulk action is left out");
                Ok(BulkOutcome::Refused(chain_of(&error)))
            }
        }
    }

    /// Whether the filter names the order at this moment too: what happened to it since the person looked may have changed what
    /// should be done about it.
    async fn is_still_named(&self, task: &BulkTask) -> Result<bool, StoreError> {
        let alone = OrderFilter {
            order_id: Some(task.key.order_id.clone()),
            named: Vec::new(),
            sagas: vec![task.key.saga.clone()],
            ..task.ask.filter.clone()
        };
        let found = self.escrow.store.list_orders(alone, Page { limit: 1, cursor: None }).await?;
        Ok(!found.items.is_empty())
    }
}

impl Worker for Bulk {
    fn name(&self) -> &'static str {
        "bulk"
    }

    fn run_once(&mut self) -> BoxFuture<'_, Result<Ran, WorkerError>> {
        Box::pin(async move {
            let store = Arc::clone(&self.escrow.store);
            match store.claim_bulk(self.owner, LEASE).at("bulk.claim").await? {
                BulkTurn::Nothing(after) => {
                    let due = after.filter(|after| after.0 > 0).map_or(TICK, Span::as_std);
                    Ok(Ran::Idle(due.clamp(PAUSE_MIN, TICK)))
                }
                BulkTurn::Order(task) => {
                    let outcome = self.carry_out(&task).at("bulk.act").await?;
                    store.settle_bulk(task.id, task.place, outcome, task.ask.every).at("bulk.settle").await?;
                    Ok(Ran::Did)
                }
            }
        })
    }

    fn nudged(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.escrow.nudges.bulk.notified())
    }
}
