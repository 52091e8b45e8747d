//! A fake desk: remembers what it was asked, and answers by the name of what it is asked about.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use futures_util::future::BoxFuture;
use tokio::sync::watch;
use uuid::Uuid;

use super::fixtures::*;
use super::support::{ago, bulk, resolved};
use crate::bus::Delivery;
use crate::doctor::{Checkup, Finding};
use crate::http::state::{ActError, Ask, BusReport, Desk, ResolveError, SagaReport, Sight, StatusReport, SubmitError};
use crate::saga::brake::Brake;
use crate::saga::catalog::Catalog;
use crate::saga::definition::Mode;
use crate::saga::incident::Acked;
use crate::saga::incident::decide::Standing;
use crate::saga::migration::{
    Armed, DeadlineEffect, Effects, Migration, MigrationAnswer, MigrationOutcome, StepEffect,
};
use crate::saga::order::{OrderKey, StepStatus};
use crate::saga::queue::QueueFinding;
use crate::saga::time::Moment;
use crate::store::{Bulk, BulkAsk, BulkState, Listed, OrderFilter, Page, StoreError};

/// A desk that remembers what it was asked.
pub struct FakeDesk {
    pub catalog: Arc<Catalog>,
    pub asks: Mutex<Vec<Ask>>,
    pub modes: Mutex<Vec<(String, Mode, String, String)>>,
    pub versions: Mutex<Vec<(String, u32)>>,
    pub migrations: Mutex<Vec<(Migration, OrderFilter, Page)>>,
    pub bulks: Mutex<Vec<(Uuid, BulkAsk)>>,
    pub resets: Mutex<Vec<(String, String, String)>>,
    /// What is given to whoever acknowledges the incident of this id.
    pub acked: Mutex<Vec<Standing>>,
    pub submitted: Mutex<Vec<Delivery>>,
    pub nudges: watch::Sender<u64>,
    pub bus: Option<BusReport>,
    pub refusal: Option<String>,
    pub queues: Vec<QueueFinding>,
}

impl Default for FakeDesk {
    fn default() -> Self {
        Self {
            catalog: Arc::new([Arc::new(saga())].into_iter().collect()),
            asks: Mutex::default(),
            modes: Mutex::default(),
            versions: Mutex::default(),
            migrations: Mutex::default(),
            bulks: Mutex::default(),
            resets: Mutex::default(),
            acked: Mutex::default(),
            submitted: Mutex::default(),
            nudges: watch::channel(0).0,
            refusal: None,
            bus: None,
            queues: Vec::new(),
        }
    }
}

impl Desk for FakeDesk {
    fn catalog(&self) -> Arc<Catalog> {
        Arc::clone(&self.catalog)
    }

    fn act(&self, ask: Ask) -> BoxFuture<'_, Result<u64, ActError>> {
        let answer = match ask.key.order_id.as_str() {
            "missing" => Err(ActError::NotFound),
            "ended" => Err(ActError::Misfit("the order is completed: there is nothing to retry".to_owned())),
            "observed" => Err(ActError::Observing("the saga is in mode `observe`: nothing is sent".to_owned())),
            "old" => Err(ActError::UnknownStep("version 1 has no step `notification`".to_owned())),
            _ => Ok(8),
        };
        self.asks.lock().unwrap().push(ask);
        Box::pin(async move { answer })
    }

    fn begin_bulk(&self, id: Uuid, ask: BulkAsk) -> BoxFuture<'_, Result<Option<Bulk>, StoreError>> {
        let is_small = ask.filter.order_id.as_deref() != Some("many");
        self.bulks.lock().unwrap().push((id, ask.clone()));
        Box::pin(async move { Ok(is_small.then(|| bulk(id, ask))) })
    }

    fn doctor(&self) -> BoxFuture<'_, Result<Checkup, StoreError>> {
        let findings = vec![
            Finding::problem("broker", "it is away", "start it"),
            Finding::warning("tap", "it is half full", "look again"),
            Finding::ok("database", "it answers"),
        ];
        Box::pin(async { Ok(Checkup { at: ago(1), findings }) })
    }

    fn stop_bulk(&self, id: Uuid, actor: String, reason: String) -> BoxFuture<'_, Result<Option<Bulk>, StoreError>> {
        let begun = self.bulks.lock().unwrap().iter().find(|it| it.0 == id).cloned();
        let stopped = begun.map(|(id, ask)| Bulk {
            state: if ask.step.is_some() { BulkState::Done } else { BulkState::Stopped },
            stopped_by: Some(actor),
            stopped_reason: Some(reason),
            ..bulk(id, ask)
        });
        Box::pin(async move { Ok(stopped) })
    }

    fn set_mode(
        &self,
        saga: String,
        mode: Mode,
        actor: String,
        reason: String,
    ) -> BoxFuture<'_, Result<(), StoreError>> {
        self.modes.lock().unwrap().push((saga, mode, actor, reason));
        Box::pin(async { Ok(()) })
    }

    fn apply_version(&self, saga: String, version: u32, _: String, _: String) -> BoxFuture<'_, Result<(), ActError>> {
        let known = self.catalog.version(&saga, version).is_some();
        self.versions.lock().unwrap().push((saga, version));
        let none = move || ActError::Misfit(format!("the saga has no version {version}"));
        Box::pin(async move { known.then_some(()).ok_or_else(none) })
    }

    /// Two pages: on the first one order moves and one is refused; on the second one is there already.
    fn migrate(
        &self,
        saga: String,
        migration: Migration,
        filter: OrderFilter,
        page: Page,
    ) -> BoxFuture<'_, Result<Listed<MigrationAnswer>, ActError>> {
        let answer = |order_id: &str, outcome| MigrationAnswer {
            key: OrderKey { saga: saga.clone(), order_id: order_id.to_owned() },
            outcome,
        };
        let deadline = |what, at, is_due| DeadlineEffect { what, at, before: None, is_due };
        let effects = Effects {
            status: None,
            steps: vec![
                StepEffect { step: "gift".to_owned(), from: Some(StepStatus::Pending), to: None },
                StepEffect { step: "fraud".to_owned(), from: None, to: Some(StepStatus::Waiting) },
            ],
            deadlines: vec![
                deadline(Armed::Step("fraud".to_owned()), ago(5), true),
                deadline(Armed::Order, ago(-60), false),
            ],
            asks: Vec::new(),
            missed: vec!["Cleared".to_owned()],
        };
        let listed = match page.cursor.as_deref() {
            None => Listed {
                items: vec![
                    answer("101", MigrationOutcome::Moved { sequence: 7, effects }),
                    answer("102", MigrationOutcome::Refused("step gift is waiting".to_owned())),
                ],
                next_cursor: Some("second".to_owned()),
            },
            Some(_) => Listed { items: vec![answer("103", MigrationOutcome::Already)], next_cursor: None },
        };
        self.migrations.lock().unwrap().push((migration, filter, page));
        Box::pin(async move { Ok(listed) })
    }

    fn reset_brake(&self, saga: String, actor: String, reason: String) -> BoxFuture<'_, Result<Brake, StoreError>> {
        self.resets.lock().unwrap().push((saga, actor, reason));
        Box::pin(async { Ok(Brake { turned: Vec::new(), latched_at: Some(ago(60)) }) })
    }

    fn ack_incident(
        &self,
        id: String,
        actor: String,
        reason: String,
    ) -> BoxFuture<'_, Result<Option<Standing>, StoreError>> {
        let mut known = self.acked.lock().unwrap();
        let found = known.iter_mut().find(|it| it.incident.about.id() == id);
        let acked = found.map(|it| {
            it.incident.acked = Some(Acked { by: actor, at: NOW, reason });
            it.clone()
        });
        Box::pin(async { Ok(acked) })
    }

    fn submit(&self, deliveries: Vec<Delivery>) -> BoxFuture<'_, Result<(), SubmitError>> {
        let is_busy = deliveries.iter().any(|it| it.envelope.property("message_id") == Some("busy"));
        self.submitted.lock().unwrap().extend(deliveries);
        Box::pin(async move { if is_busy { Err(SubmitError::Busy("Escrow is stopping".to_owned())) } else { Ok(()) } })
    }

    fn replay(
        &self,
        id: i64,
        _order_id: Option<String>,
        _actor: String,
        _reason: String,
    ) -> BoxFuture<'_, Result<(), ResolveError>> {
        Box::pin(async move { resolved(id) })
    }

    fn drop_quarantined(&self, id: i64, _actor: String, _reason: String) -> BoxFuture<'_, Result<(), ResolveError>> {
        assert_ne!(id, 666, "a handler that fails");
        Box::pin(async move { resolved(id) })
    }

    fn queue_finding(&self, queue: &str) -> Option<QueueFinding> {
        self.queues.iter().find(|finding| finding.queue == queue).cloned()
    }

    fn watermark(&self, saga: &str) -> Option<Moment> {
        (saga == "order").then(|| ago(1))
    }

    fn status(&self) -> StatusReport {
        let report = SagaReport {
            watermark: Some(ago(1)),
            sight: Sight::Live,
            unbound: BTreeMap::from([("stock".to_owned(), "it does not exist yet".to_owned())]),
        };
        StatusReport {
            unbound: None,
            name: "default".to_owned(),
            started_at: ago(5000),
            bus: self.bus.clone(),
            sagas: BTreeMap::from([("order".to_owned(), report)]),
            problems: Vec::new(),
            refusal: self.refusal.clone(),
        }
    }

    fn nudges(&self) -> watch::Receiver<u64> {
        self.nudges.subscribe()
    }
}
