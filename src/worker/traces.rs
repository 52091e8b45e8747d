//! Makes traces: of the batches this Escrow reads, and of the orders that end.
//!
//! ```text
//!   commit ──order ended──▶ bounded queue ──▶ journal read back ──▶ spans ──▶ exporter
//! ```
//!
//! One order at a time, after its commit, so that at most one connection of the database is used for it. Everything here may be
//! lost: what is not traced is in the journal all the same.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;
use tokio::sync::mpsc::Receiver;
use tokio_util::sync::CancellationToken;

use crate::bus::{Batch, Item};
use crate::saga::journal::Entry;
use crate::store::{JournalRow, StoreError};
use crate::telemetry::ResultLabel;
use crate::telemetry::traces::context::{self, LINKS_MAX, SpanContext};
use crate::telemetry::traces::orders::{self, Finished};
use crate::telemetry::traces::own::{Began, Received};
use crate::telemetry::traces::{Ended, Traces};

use super::{Escrow, chain_of};

/// Entries of one order that are read: more than any picture can show.
const ENTRIES_MAX: usize = 2_000;

/// Makes a trace of each order that ends, until shutdown.
pub async fn follow(escrow: Arc<Escrow>, mut ended: Receiver<Ended>, shutdown: CancellationToken) {
    loop {
        let next = tokio::select! {
            biased;
            () = shutdown.cancelled() => return,
            next = ended.recv() => next,
        };
        let (Some(ended), Some(traces)) = (next, escrow.traces.get()) else { return };
        let result = match trace(&escrow, traces, &ended).await {
            Ok(()) => "exported",
            Err(error) => {
                tracing::debug!(order = %ended.key, error = %chain_of(&error), "an order is not traced");
                "dropped"
            }
        };
        escrow.metrics.order_traces.get_or_create(&ResultLabel { result }).inc();
    }
}

async fn trace(escrow: &Escrow, traces: &Traces, ended: &Ended) -> Result<(), StoreError> {
    let Some(order) = escrow.store.find_order(ended.key.clone()).await? else { return Ok(()) };
    let Some(saga) = escrow.catalog().version(&order.key.saga, order.version).cloned() else { return Ok(()) };
    let rows = escrow.store.audit(ended.key.clone(), 0, ENTRIES_MAX).await?;
    let entries: Vec<Entry> = rows.into_iter().filter_map(entry).collect();
    let mut contexts = BTreeMap::new();
    for entry in entries.iter().filter(|entry| entry.body.message.is_some()).take(LINKS_MAX) {
        let stored = escrow.store.payload(ended.key.clone(), entry.sequence).await?;
        if let Some(found) = stored.as_ref().and_then(|stored| context_of(&stored.envelope)) {
            contexts.insert(entry.sequence, found);
        }
    }
    let names = saga.step_names();
    let sequence = ended.sequence;
    let finished = Finished { order: &order, names: &names, entries: &entries, contexts: &contexts, sequence };
    traces.export(orders::spans(&finished));
    Ok(())
}

fn entry(row: JournalRow) -> Option<Entry> {
    let JournalRow { sequence, at, kind, actor, text, .. } = row;
    let body = serde_json::from_str(&text).ok()?;
    Some(Entry { sequence, at, kind, actor, body })
}

/// The trace a stored message says it belongs to: in its header, or in the property of an event over HTTP.
pub fn context_of(envelope: &Value) -> Option<SpanContext> {
    let said = |part: &str| envelope.get(part)?.get(context::HEADER)?.as_str();
    context::read(said("headers").or_else(|| said("properties"))?)
}

/// When a batch went through what, if anybody wants to know.
#[derive(Debug, Default)]
pub struct Timing(Option<Received>);

impl Timing {
    /// A batch begins. One without deliveries is of no interest.
    pub fn of(escrow: &Escrow, batch: &Batch) -> Self {
        let deliveries = || {
            batch.items.iter().filter_map(|item| match item {
                Item::Delivery(delivery) => Some(delivery),
                Item::Canary { .. } | Item::Gap(_) => None,
            })
        };
        if escrow.traces.get().is_none() || deliveries().next().is_none() {
            return Self(None);
        }
        let said = deliveries().filter_map(|it| it.envelope.headers.get(context::HEADER)?.as_str());
        let now = Began::now();
        Self(Some(Received {
            began: now,
            committing: now,
            committed: now,
            queue: batch.tap.clone().unwrap_or_else(|| "http".to_owned()),
            messages: deliveries().count(),
            contexts: said.filter_map(context::read).take(LINKS_MAX).collect(),
        }))
    }

    /// Its transaction begins.
    pub fn committing(&mut self) {
        if let Some(received) = &mut self.0 {
            received.committing = Began::now();
        }
    }

    /// Its transaction is done.
    pub fn committed(&mut self) {
        if let Some(received) = &mut self.0 {
            received.committed = Began::now();
        }
    }

    /// It is acknowledged.
    pub fn export(self, escrow: &Escrow) {
        if let Some((traces, received)) = escrow.traces.get().zip(self.0) {
            traces.export(received.spans());
        }
    }
}
