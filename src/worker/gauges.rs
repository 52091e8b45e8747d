//! Keeps the gauges of the metrics near the truth.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::time::Instant;

use crate::bus::Tap;
use crate::telemetry::RoleLabel;

use super::watermark::{Known, Watermarks};
use super::{Escrow, Ran, Worker, WorkerError};

/// As often as metrics are usually scraped.
const EVERY: Duration = Duration::from_secs(10);

/// Counting what is open reads a row for each open order: never for more than one part in so many of the time.
const COST_MAX: u32 = 20;

/// Orders held by the watermark are counted up to here.
const HELD_MAX: usize = 1_000;

/// Sets gauges from the store and the tap.
pub struct Gauges {
    escrow: Arc<Escrow>,
    watermarks: Arc<Watermarks>,
    tap: Option<Arc<dyn Tap>>,
}

impl Gauges {
    /// Gauges of this Escrow.
    pub fn new(escrow: Arc<Escrow>, watermarks: Arc<Watermarks>, tap: Option<Arc<dyn Tap>>) -> Self {
        Self { escrow, watermarks, tap }
    }
}

impl Gauges {
    /// Orders with a deadline that has passed by the clock, and not by the watermark.
    async fn held(&self, known: &Known) -> Result<usize, WorkerError> {
        let store = &self.escrow.store;
        let sagas = self.escrow.catalog().newest_all().map(|saga| (saga.name.clone(), known.now)).collect();
        let due = store.due_orders(sagas, HELD_MAX).await?.len();
        if due == 0 {
            return Ok(0);
        }
        let ready = store.due_orders(known.by_saga.clone(), HELD_MAX).await?.len();
        Ok(due.saturating_sub(ready))
    }
}

impl Worker for Gauges {
    fn name(&self) -> &'static str {
        "gauges"
    }

    fn run_once(&mut self) -> BoxFuture<'_, Result<Ran, WorkerError>> {
        Box::pin(async move {
            let metrics = &self.escrow.metrics;
            let counts = self.escrow.store.count_by_status().await?;
            metrics.set_stored(&counts, self.escrow.store.outbox_backlog().await?);
            metrics.set_connections(self.escrow.store.connections());
            let states = self.escrow.store.saga_states().await?;
            for saga in self.escrow.catalog().newest_all() {
                metrics.expect(saga);
                let latched = states.get(&saga.name).is_some_and(|state| state.brake.latched_at.is_some());
                metrics.set_brake(&saga.name, latched && saga.brake.is_some());
            }
            if let Some(known) = self.watermarks.last() {
                for (saga, watermark) in &known.by_saga {
                    metrics.set_watermark(saga, *watermark);
                }
                metrics.set_held_by_watermark(self.held(&known).await?);
            }
            if let Some(tap) = &self.tap {
                let health = tap.health();
                let roles = [("consume", health.connected), ("publish", health.publishing)];
                for (role, connected) in roles {
                    metrics.amqp_connected.get_or_create(&RoleLabel { role }).set(i64::from(connected));
                }
                metrics.amqp_blocked.set(i64::from(health.blocked));
                let whole = |count: Option<u64>| count.map_or(0, |count| i64::try_from(count).unwrap_or(i64::MAX));
                metrics.tap_depth.set(whole(health.depth));
                metrics.tap_limit.set(whole(health.bound));
            }
            let began = Instant::now();
            let open = self.escrow.store.count_open().await?;
            let stuck = self.escrow.store.stuck_groups().await?;
            let incidents = self.escrow.store.open_incidents().await?;
            metrics.set_open(&open, &stuck, &incidents);
            Ok(Ran::Idle(EVERY.max(began.elapsed() * COST_MAX)))
        })
    }

    fn nudged(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::pending())
    }
}
