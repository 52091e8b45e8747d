//! What people ask: actions on orders, modes, and what becomes of quarantined messages.
//!
//! A command is one more input of its order, decided and journaled in one transaction like any other. What is asked here is
//! done, or not at all; a caller that goes away changes nothing about that.

use std::sync::Arc;

use crate::bus::{Delivery, Envelope};
use crate::faults::Step as _;
use crate::saga::batch::Resolved;
use crate::saga::decide::{Delivered, OrderRef, Plan, Work};
use crate::saga::input::{Ask, Command};
use crate::store::{QuarantineRow, StoreError};

use super::Escrow;
use super::reading::Readings;

/// Why a command was not done. Nothing was changed, but for a lost answer to a commit.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    #[error("there is no such order")]
    NotFound,
    /// The text names the steps there are.
    #[error("{0}")]
    UnknownStep(String),
    /// It does not fit where things stand; the text names the state.
    #[error("{0}")]
    Misfit(String),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Runs commands.
#[derive(Clone)]
pub struct Commands {
    pub(super) escrow: Arc<Escrow>,
    body_keep_bytes: usize,
}

impl Commands {
    /// Commands of this Escrow.
    pub fn new(escrow: Arc<Escrow>, body_keep_bytes: usize) -> Self {
        Self { escrow, body_keep_bytes }
    }

    /// Runs one action of rule 15; answers the journal sequence it became.
    ///
    /// # Errors
    /// As [`CommandError`].
    pub async fn act(&self, ask: Ask) -> Result<u64, CommandError> {
        let store = &self.escrow.store;
        let order = store.find_order(ask.key.clone()).at("commands.find_order").await?.ok_or(CommandError::NotFound)?;
        let catalog = self.escrow.catalog();
        let saga = catalog.version(&ask.key.saga, order.version).ok_or_else(|| {
            CommandError::Misfit(format!("version {} of saga {} is not known here", order.version, ask.key.saga))
        })?;
        let step = match &ask.step {
            None => None,
            Some(name) => Some(saga.step_ix(name).ok_or_else(|| {
                let names: Vec<String> = saga.steps.iter().map(|step| step.name.clone()).collect();
                CommandError::UnknownStep(format!(
                    "saga {} has no step `{name}`; it has {}",
                    saga.name,
                    names.join(", ")
                ))
            })?),
        };
        let command = Command { action: ask.action, step, actor: ask.actor, reason: ask.reason };
        let mut plan = self.escrow.plan(vec![Work::Command(ask.key, Box::new(command))]);
        plan.idempotency_key = ask.idempotency_key;
        let committed = self.escrow.commit(plan).at("commands.commit").await?;
        match committed.changes.answers.into_iter().next() {
            Some(Ok(sequence)) => Ok(sequence),
            Some(Err(misfit)) => Err(CommandError::Misfit(misfit.0)),
            None => Err(CommandError::NotFound),
        }
    }

    /// Applies a quarantined message anew. `order_id` says where it belongs when the message does not, or not in a way the version
    /// of its order understands.
    ///
    /// # Errors
    /// As [`CommandError`]; the message stays in quarantine.
    pub async fn replay(
        &self,
        id: i64,
        order_id: Option<String>,
        actor: String,
        reason: String,
    ) -> Result<(), CommandError> {
        let row = self.unresolved(id).await?;
        let delivered = self.read_again(&row, order_id)?;
        let mut candidates = delivered.arrivals.iter().flat_map(|arrival| &arrival.candidates);
        if candidates.any(|candidate| candidate.place == OrderRef::Arrival) {
            let why = "the message names no order: say which one it belongs to (order_id)";
            return Err(CommandError::Misfit(why.to_owned()));
        }
        let resolved = Work::Resolved(Resolved { id, how: "replayed", actor, reason });
        self.resolve(vec![Work::Delivered(delivered), resolved]).await
    }

    /// Gives a quarantined message up.
    ///
    /// # Errors
    /// As [`CommandError`].
    pub async fn drop_quarantined(&self, id: i64, actor: String, reason: String) -> Result<(), CommandError> {
        self.unresolved(id).await?;
        self.resolve(vec![Work::Resolved(Resolved { id, how: "dropped", actor, reason })]).await
    }

    async fn unresolved(&self, id: i64) -> Result<QuarantineRow, CommandError> {
        let row = self.escrow.store.quarantined(id).at("commands.quarantined").await?.ok_or(CommandError::NotFound)?;
        match &row.resolved {
            None => Ok(row),
            Some(how) => Err(CommandError::Misfit(format!("message {id} was {how} already"))),
        }
    }

    fn read_again(&self, row: &QuarantineRow, order_id: Option<String>) -> Result<Delivered, CommandError> {
        if (row.body.len() as u64) < row.body_bytes {
            let why = format!("only {} of its {} bytes were kept", row.body.len(), row.body_bytes);
            return Err(CommandError::Misfit(why));
        }
        let envelope: Envelope = serde_json::from_value(row.envelope.clone())
            .map_err(|error| CommandError::Misfit(format!("its headers cannot be read: {error}")))?;
        let delivery = Delivery {
            exchange: row.exchange.clone(),
            routing_key: row.routing_key.clone(),
            envelope,
            body: row.body.clone(),
            redelivered: false,
        };
        let secret = uuid::Uuid::new_v4().into_bytes();
        let catalog = self.escrow.catalog();
        let sight = super::sight::Sight::default();
        let none = || CommandError::Misfit("no definition names it".to_owned());
        let mut readings = Readings::new(self.body_keep_bytes).of_order(order_id);
        let read = readings.read(&catalog, &sight, &delivery, secret, None);
        let mut delivered = read.ok_or_else(none)?;
        if let Some(saga) = &row.saga {
            // The other sagas that watch the exchange had it the first time.
            delivered.arrivals.retain(|arrival| arrival.saga == *saga);
        }
        let still = delivered.arrivals.iter().find_map(|arrival| arrival.unread.as_ref());
        if let Some(unread) = still {
            return Err(CommandError::Misfit(format!("it still cannot be read: {}", unread.message.detail)));
        }
        if delivered.arrivals.is_empty() { Err(none()) } else { Ok(delivered) }
    }

    /// Commits what resolves a quarantined message. Orders that were held back by the doubt about it are looked at again soon.
    async fn resolve(&self, work: Vec<Work>) -> Result<(), CommandError> {
        let plan = Plan { must_apply: true, ..self.escrow.plan(work) };
        let committed = self.escrow.commit(plan).at("commands.resolve").await?;
        if let Some(why) = committed.changes.misplaced {
            return Err(CommandError::Misfit(format!("it reaches no order: {why}")));
        }
        self.escrow.nudges.doubts.notify_one();
        Ok(())
    }
}
