//! The desk as a caller sees it who is kept to some sagas: it knows no others, and does nothing to them.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use tokio::sync::watch;
use uuid::Uuid;

use super::scope::Scope;
use crate::bus::Delivery;
use crate::doctor::Checkup;
use crate::http::state::{ActError, Ask, Desk, ResolveError, StatusReport, SubmitError};
use crate::saga::brake::Brake;
use crate::saga::catalog::Catalog;
use crate::saga::definition::Mode;
use crate::saga::incident::decide::Standing;
use crate::saga::migration::{Migration, MigrationAnswer};
use crate::saga::queue::QueueFinding;
use crate::saga::time::Moment;
use crate::store::{Bulk, BulkAsk, Listed, OrderFilter, Page, Query, StoreError};

/// What is seen of a desk.
pub struct ScopedDesk {
    inner: Arc<dyn Desk>,
    /// The store as the same caller sees it: what is not in there is not acted on.
    query: Arc<dyn Query>,
    scope: Scope,
}

impl ScopedDesk {
    pub fn new(inner: Arc<dyn Desk>, query: Arc<dyn Query>, scope: Scope) -> Self {
        Self { inner, query, scope }
    }

    async fn is_seen(&self, quarantined: i64) -> Result<(), ResolveError> {
        self.query.quarantined(quarantined).await?.map(drop).ok_or(ResolveError::NotFound)
    }
}

/// Handlers name a saga only after they have found it in the catalog, which holds none of these.
fn unseen(saga: &str) -> StoreError {
    StoreError::Corrupt(format!("saga {saga} was named by a caller who does not see it"))
}

impl Desk for ScopedDesk {
    fn catalog(&self) -> Arc<Catalog> {
        Arc::new(self.inner.catalog().only(|saga| self.scope.takes(saga)))
    }

    fn act(&self, ask: Ask) -> BoxFuture<'_, Result<u64, ActError>> {
        if self.scope.takes(&ask.key.saga) { self.inner.act(ask) } else { Box::pin(async { Err(ActError::NotFound) }) }
    }

    fn begin_bulk(&self, id: Uuid, mut ask: BulkAsk) -> BoxFuture<'_, Result<Option<Bulk>, StoreError>> {
        match self.scope.narrow(ask.filter) {
            Some(filter) => {
                ask.filter = filter;
                self.inner.begin_bulk(id, ask)
            }
            None => Box::pin(async { Err(unseen("of a filter")) }),
        }
    }

    fn stop_bulk(&self, id: Uuid, actor: String, reason: String) -> BoxFuture<'_, Result<Option<Bulk>, StoreError>> {
        Box::pin(async move {
            match self.query.bulk(id).await? {
                Some(_) => self.inner.stop_bulk(id, actor, reason).await,
                None => Ok(None),
            }
        })
    }

    fn set_mode(
        &self,
        saga: String,
        mode: Mode,
        actor: String,
        reason: String,
    ) -> BoxFuture<'_, Result<(), StoreError>> {
        if self.scope.takes(&saga) {
            self.inner.set_mode(saga, mode, actor, reason)
        } else {
            Box::pin(async move { Err(unseen(&saga)) })
        }
    }

    fn apply_version(
        &self,
        saga: String,
        version: u32,
        actor: String,
        reason: String,
    ) -> BoxFuture<'_, Result<(), ActError>> {
        if self.scope.takes(&saga) {
            self.inner.apply_version(saga, version, actor, reason)
        } else {
            Box::pin(async { Err(ActError::NotFound) })
        }
    }

    fn migrate(
        &self,
        saga: String,
        migration: Migration,
        filter: OrderFilter,
        page: Page,
    ) -> BoxFuture<'_, Result<Listed<MigrationAnswer>, ActError>> {
        // Whatever else the filter says, it is of this saga alone.
        if self.scope.takes(&saga) {
            self.inner.migrate(saga, migration, filter, page)
        } else {
            Box::pin(async { Err(ActError::NotFound) })
        }
    }

    fn reset_brake(&self, saga: String, actor: String, reason: String) -> BoxFuture<'_, Result<Brake, StoreError>> {
        if self.scope.takes(&saga) {
            self.inner.reset_brake(saga, actor, reason)
        } else {
            Box::pin(async move { Err(unseen(&saga)) })
        }
    }

    fn ack_incident(
        &self,
        id: String,
        actor: String,
        reason: String,
    ) -> BoxFuture<'_, Result<Option<Standing>, StoreError>> {
        Box::pin(async move {
            if self.query.incident_episodes(id.clone(), 1).await?.is_empty() {
                return Ok(None);
            }
            self.inner.ack_incident(id, actor, reason).await
        })
    }

    fn submit(&self, _deliveries: Vec<Delivery>) -> BoxFuture<'_, Result<(), SubmitError>> {
        let why = "events go to every saga that names them: a token that is kept to some may not send any";
        Box::pin(async move { Err(SubmitError::Busy(why.to_owned())) })
    }

    fn replay(
        &self,
        id: i64,
        order_id: Option<String>,
        actor: String,
        reason: String,
    ) -> BoxFuture<'_, Result<(), ResolveError>> {
        Box::pin(async move {
            self.is_seen(id).await?;
            self.inner.replay(id, order_id, actor, reason).await
        })
    }

    fn drop_quarantined(&self, id: i64, actor: String, reason: String) -> BoxFuture<'_, Result<(), ResolveError>> {
        Box::pin(async move {
            self.is_seen(id).await?;
            self.inner.drop_quarantined(id, actor, reason).await
        })
    }

    fn watermark(&self, saga: &str) -> Option<Moment> {
        if self.scope.takes(saga) { self.inner.watermark(saga) } else { None }
    }

    fn status(&self) -> StatusReport {
        let mut report = self.inner.status();
        report.sagas.retain(|saga, _| self.scope.takes(saga));
        if !report.problems.is_empty() {
            // What is wrong is told in words that may name other sagas.
            report.problems = vec!["Escrow has a problem; whoever operates it sees which".to_owned()];
        }
        report
    }

    fn doctor(&self) -> BoxFuture<'_, Result<Checkup, StoreError>> {
        // The route is closed to callers who are kept to some sagas.
        Box::pin(async { Err(unseen("of the doctor")) })
    }

    fn queue_finding(&self, queue: &str) -> Option<QueueFinding> {
        self.inner.queue_finding(queue)
    }

    fn nudges(&self) -> watch::Receiver<u64> {
        self.inner.nudges()
    }
}
