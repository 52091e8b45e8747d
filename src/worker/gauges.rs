//! Keeps the gauges of the metrics near the truth.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;

use crate::bus::Tap;
use crate::telemetry::{RoleLabel, SagaLabel};

use super::watermark::Watermarks;
use super::{Escrow, Ran, Worker, WorkerError};

/// As often as metrics are usually scraped.
const EVERY: Duration = Duration::from_secs(10);

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

impl Worker for Gauges {
    fn name(&self) -> &'static str {
        "gauges"
    }

    fn run_once(&mut self) -> BoxFuture<'_, Result<Ran, WorkerError>> {
        Box::pin(async move {
            let metrics = &self.escrow.metrics;
            let counts = self.escrow.store.count_by_status().await?;
            metrics.set_stored(&counts, self.escrow.store.outbox_backlog().await?);
            let states = self.escrow.store.saga_states().await?;
            for saga in self.escrow.catalog().newest_all() {
                let latched = states.get(&saga.name).is_some_and(|state| state.brake.latched_at.is_some());
                let label = SagaLabel { saga: saga.name.clone() };
                metrics.brake_latched.get_or_create(&label).set(i64::from(latched && saga.brake.is_some()));
            }
            if let Some(known) = self.watermarks.last() {
                for (saga, watermark) in &known.by_saga {
                    metrics.set_watermark(saga, *watermark);
                }
            }
            if let Some(tap) = &self.tap {
                let health = tap.health();
                let roles = [("consume", health.connected), ("publish", health.publishing)];
                for (role, connected) in roles {
                    metrics.amqp_connected.get_or_create(&RoleLabel { role }).set(i64::from(connected));
                }
                metrics.tap_depth.set(health.depth.map_or(0, |depth| i64::try_from(depth).unwrap_or(i64::MAX)));
            }
            Ok(Ran::Idle(EVERY))
        })
    }

    fn nudged(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::pending())
    }
}
