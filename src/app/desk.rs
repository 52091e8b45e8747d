//! What the API can ask of the running Escrow, answered by its loops and its store.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use tokio::sync::watch;
use uuid::Uuid;

use super::surgery::Surgery;
use crate::bus::http::HttpDoor;
use crate::bus::{BusError, Delivery, Tap};
use crate::doctor::Checkup;
use crate::http::state::{
    ActError, Ask, BusReport, Desk, ResolveError, SagaReport, Sight, StatusReport, SubmitError, Unbound,
};
use crate::saga::brake::Brake;
use crate::saga::catalog::Catalog;
use crate::saga::definition::Mode;
use crate::saga::incident::decide::Standing;
use crate::saga::migration::{Migration, MigrationAnswer};
use crate::saga::queue::QueueFinding;
use crate::saga::time::Moment;
use crate::store::{Bulk, BulkAsk, Listed, OrderFilter, Page, StoreError};
use crate::worker::Escrow;
use crate::worker::commands::{CommandError, Commands};
use crate::worker::sight::View;
use crate::worker::watermark::{Known, Watermarks};

/// What the desk answers from.
pub(super) struct Seen {
    pub escrow: Arc<Escrow>,
    pub watermarks: Arc<Watermarks>,
    pub tap: Option<Arc<dyn Tap>>,
    pub commands: Commands,
    pub door: HttpDoor,
    pub name: String,
    pub surgery: Arc<Surgery>,
}

/// The desk of a running Escrow.
pub(super) struct RunningDesk {
    escrow: Arc<Escrow>,
    watermarks: Arc<Watermarks>,
    tap: Option<Arc<dyn Tap>>,
    commands: Commands,
    door: HttpDoor,
    name: String,
    surgery: Arc<Surgery>,
    started_at: Moment,
}

impl RunningDesk {
    pub(super) fn new(seen: Seen) -> Self {
        let Seen { escrow, watermarks, tap, commands, door, name, surgery } = seen;
        let started_at = crate::clock::Clock::now(&crate::clock::System);
        Self { escrow, watermarks, tap, commands, door, name, surgery, started_at }
    }

    fn saga_report(&self, saga: &str, known: Option<&Known>) -> SagaReport {
        let consuming = self.tap.as_ref().is_none_or(|tap| tap.health().consuming);
        let watermark = known.and_then(|known| known.by_saga.get(saga).copied());
        let view = match (known, &self.tap) {
            (Some(known), Some(_)) => {
                let stored = known.tap.as_ref().and_then(|tap| tap.watermark);
                self.escrow.sight.view(known.now, consuming, stored)
            }
            (Some(_) | None, _) => View::Clear,
        };
        let sight = match view {
            View::Clear => Sight::Live,
            View::Behind => Sight::Behind,
            View::Blind(why) => Sight::Blind(why),
        };
        let unbound = known.map(|known| unbound(known, &self.escrow.catalog(), saga)).unwrap_or_default();
        SagaReport { watermark, sight, unbound }
    }
}

fn unbound(known: &Known, catalog: &Catalog, saga: &str) -> BTreeMap<String, String> {
    let watched = |exchange: &str| {
        catalog.watching().filter(|version| version.name == saga).flat_map(|version| &version.watch).any(
            |watch| matches!(&watch.place, crate::saga::definition::Place::Exchange { name, .. } if name == exchange),
        )
    };
    let rows = known.bindings.iter().filter(|row| watched(&row.exchange) && (!row.bound || row.problem.is_some()));
    rows.map(|row| {
        let why = row.problem.clone().unwrap_or_else(|| "does not exist yet".to_owned());
        (row.exchange.clone(), why)
    })
    .collect()
}

impl Desk for RunningDesk {
    fn catalog(&self) -> Arc<Catalog> {
        self.escrow.catalog()
    }

    fn act(&self, ask: Ask) -> BoxFuture<'_, Result<u64, ActError>> {
        // In a task of its own: a client that goes away must not stop it half-way.
        let commands = self.commands.clone();
        let task = tokio::spawn(async move { commands.act(ask).await });
        Box::pin(async move { joined(task.await)?.map_err(act_error) })
    }

    fn apply_version(
        &self,
        saga: String,
        version: u32,
        actor: String,
        reason: String,
    ) -> BoxFuture<'_, Result<(), ActError>> {
        let commands = self.commands.clone();
        let task = tokio::spawn(async move { commands.apply_version(saga, version, actor, reason).await });
        Box::pin(async move { joined(task.await)?.map_err(act_error) })
    }

    fn migrate(
        &self,
        saga: String,
        migration: Migration,
        filter: OrderFilter,
        page: Page,
    ) -> BoxFuture<'_, Result<Listed<MigrationAnswer>, ActError>> {
        let commands = self.commands.clone();
        let task = tokio::spawn(async move { commands.migrate(saga, migration, filter, page).await });
        Box::pin(async move { joined(task.await)?.map_err(act_error) })
    }

    fn begin_bulk(&self, id: Uuid, ask: BulkAsk) -> BoxFuture<'_, Result<Option<Bulk>, StoreError>> {
        let escrow = Arc::clone(&self.escrow);
        let task = tokio::spawn(async move {
            let begun = escrow.store.begin_bulk(id, ask).await;
            escrow.nudges.bulk.notify_one();
            begun
        });
        Box::pin(async move { joined(task.await)? })
    }

    fn stop_bulk(&self, id: Uuid, actor: String, reason: String) -> BoxFuture<'_, Result<Option<Bulk>, StoreError>> {
        let store = Arc::clone(&self.escrow.store);
        let task = tokio::spawn(async move { store.stop_bulk(id, actor, reason).await });
        Box::pin(async move { joined(task.await)? })
    }

    fn set_mode(
        &self,
        saga: String,
        mode: Mode,
        actor: String,
        reason: String,
    ) -> BoxFuture<'_, Result<(), StoreError>> {
        let store = Arc::clone(&self.escrow.store);
        let task = tokio::spawn(async move { store.set_mode(saga, mode, actor, reason).await });
        Box::pin(async move { joined(task.await)? })
    }

    fn reset_brake(&self, saga: String, actor: String, reason: String) -> BoxFuture<'_, Result<Brake, StoreError>> {
        let store = Arc::clone(&self.escrow.store);
        let task = tokio::spawn(async move { store.reset_brake(saga, actor, reason).await });
        Box::pin(async move { joined(task.await)? })
    }

    fn ack_incident(
        &self,
        id: String,
        actor: String,
        reason: String,
    ) -> BoxFuture<'_, Result<Option<Standing>, StoreError>> {
        let store = Arc::clone(&self.escrow.store);
        let task = tokio::spawn(async move { store.ack_incident(id, actor, reason).await });
        Box::pin(async move { joined(task.await)? })
    }

    fn submit(&self, deliveries: Vec<Delivery>) -> BoxFuture<'_, Result<(), SubmitError>> {
        Box::pin(async move {
            self.door.submit(deliveries).await.map_err(|error| match error {
                BusError::Disconnected(why) | BusError::Misconfigured(why) => SubmitError::Busy(why),
            })
        })
    }

    fn replay(
        &self,
        id: i64,
        order_id: Option<String>,
        actor: String,
        reason: String,
    ) -> BoxFuture<'_, Result<(), ResolveError>> {
        let commands = self.commands.clone();
        let task = tokio::spawn(async move { commands.replay(id, order_id, actor, reason).await });
        Box::pin(async move { joined(task.await)?.map_err(resolve_error) })
    }

    fn drop_quarantined(&self, id: i64, actor: String, reason: String) -> BoxFuture<'_, Result<(), ResolveError>> {
        let commands = self.commands.clone();
        let task = tokio::spawn(async move { commands.drop_quarantined(id, actor, reason).await });
        Box::pin(async move { joined(task.await)?.map_err(resolve_error) })
    }

    fn watermark(&self, saga: &str) -> Option<Moment> {
        self.watermarks.last().and_then(|known| known.by_saga.get(saga).copied())
    }

    fn status(&self) -> StatusReport {
        let known = self.watermarks.last();
        let catalog = self.escrow.catalog();
        let sagas = catalog
            .newest_all()
            .map(|saga| (saga.name.clone(), self.saga_report(&saga.name, known.as_deref())))
            .collect();
        let refusal = self.escrow.sight.refusal();
        let mut problems: Vec<String> =
            refusal.iter().map(|why| format!("the database takes no writes: {why}")).collect();
        let unbound = self.escrow.sight.is_switched_off().map(|(since, why)| Unbound { since, why });
        problems.extend(unbound.iter().map(|unbound| {
            format!(
                "the tap is {} (since {}); `escrow rabbit bind` binds it again",
                unbound.why,
                unbound.since.rfc3339()
            )
        }));
        problems.extend(self.escrow.troubles.words());
        let bus = self.tap.as_ref().map(|tap| {
            let health = tap.health();
            let blocked = health.blocked.then(|| "the broker holds back what is published (an alarm)".to_owned());
            BusReport {
                consuming_connected: health.connected,
                consuming: health.consuming,
                publishing_connected: health.publishing,
                tap_depth: health.depth,
                tap_bound: health.bound,
                lag: self.escrow.sight.lag(),
                problem: health.problem.or(blocked),
            }
        });
        StatusReport { name: self.name.clone(), started_at: self.started_at, bus, sagas, unbound, problems, refusal }
    }

    fn doctor(&self) -> BoxFuture<'_, Result<Checkup, StoreError>> {
        // In a task of its own: who goes away must not stop the look that others wait for.
        let task = tokio::spawn(Arc::clone(&self.surgery).ask());
        Box::pin(async move { joined(task.await) })
    }

    fn queue_finding(&self, queue: &str) -> Option<QueueFinding> {
        self.escrow.queues.of(queue)
    }

    fn nudges(&self) -> watch::Receiver<u64> {
        self.escrow.nudges.journal.subscribe()
    }
}

fn act_error(error: CommandError) -> ActError {
    match error {
        CommandError::NotFound => ActError::NotFound,
        CommandError::UnknownStep(text) => ActError::UnknownStep(text),
        CommandError::Misfit(text) => ActError::Misfit(text),
        CommandError::Store(error) => ActError::Store(error),
    }
}

fn resolve_error(error: CommandError) -> ResolveError {
    match error {
        CommandError::NotFound => ResolveError::NotFound,
        CommandError::UnknownStep(text) | CommandError::Misfit(text) => ResolveError::Misfit(text),
        CommandError::Store(error) => ResolveError::Store(error),
    }
}

/// A task that died says so as a broken store would: what it did is not known.
fn joined<T>(result: Result<T, tokio::task::JoinError>) -> Result<T, StoreError> {
    result.map_err(|error| StoreError::Corrupt(format!("a task of Escrow's own died: {error}")))
}
