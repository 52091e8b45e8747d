//! What the API stands on: the database to read, and the running Escrow to ask.
//!
//! ```text
//!   handler ──reads──▶ Query (the store)
//!      └─────asks────▶ Desk  (the running Escrow: commands, events, where it stands)
//! ```
//!
//! Handlers never write by themselves. Whatever changes an order goes through [`Desk`], which runs it as one more input
//! of the machine; a handler that is dropped half-way (its client went away) takes nothing with it.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::access::Access;
use super::access::scope::Scope;
use super::flow::Flow;
use super::limits::Share;
use crate::bus::Delivery;
use crate::doctor::Checkup;
use crate::saga::brake::Brake;
use crate::saga::catalog::Catalog;
use crate::saga::definition::Mode;
use crate::saga::incident::decide::Standing;
pub use crate::saga::input::Ask;
use crate::saga::migration::{Migration, MigrationAnswer};
use crate::saga::queue::QueueFinding;
use crate::saga::time::{Moment, Span};
use crate::store::{Bulk, BulkAsk, Listed, OrderFilter, Page, Query, StoreError};
use crate::telemetry::Metrics;

/// Live streams served at once. Each costs a task and a query per nudge; past this, people share a screen.
const STREAMS_MAX: usize = 256;

/// What the API can ask of the running Escrow.
pub trait Desk: Send + Sync {
    /// All definitions followed now.
    fn catalog(&self) -> Arc<Catalog>;

    /// Runs one action of rule 15. Gives the sequence of the journal entry it became; the same idempotency key gives the first
    /// answer again.
    fn act(&self, ask: Ask) -> BoxFuture<'_, Result<u64, ActError>>;

    /// Begins an action on the orders its filter names; one that has this id already is given as it is. `None`: too many orders.
    fn begin_bulk(&self, id: Uuid, ask: BulkAsk) -> BoxFuture<'_, Result<Option<Bulk>, StoreError>>;

    /// Stops an action on many orders if it is running, and gives it as it is then.
    fn stop_bulk(&self, id: Uuid, actor: String, reason: String) -> BoxFuture<'_, Result<Option<Bulk>, StoreError>>;

    /// Changes the mode of a saga that is in the catalog.
    fn set_mode(
        &self,
        saga: String,
        mode: Mode,
        actor: String,
        reason: String,
    ) -> BoxFuture<'_, Result<(), StoreError>>;

    /// Lets new orders of a saga open on a stored version.
    fn apply_version(
        &self,
        saga: String,
        version: u32,
        actor: String,
        reason: String,
    ) -> BoxFuture<'_, Result<(), ActError>>;

    /// Moves a page of open orders to another version, or says what that would do.
    fn migrate(
        &self,
        saga: String,
        migration: Migration,
        filter: OrderFilter,
        page: Page,
    ) -> BoxFuture<'_, Result<Listed<MigrationAnswer>, ActError>>;

    /// Takes the brake of a saga off; gives it as it was.
    fn reset_brake(&self, saga: String, actor: String, reason: String) -> BoxFuture<'_, Result<Brake, StoreError>>;

    /// A person knows of an incident; gives its last episode, whether that is open or not.
    fn ack_incident(
        &self,
        id: String,
        actor: String,
        reason: String,
    ) -> BoxFuture<'_, Result<Option<Standing>, StoreError>>;

    /// Takes events; resolves when their effect is committed, all together or not at all.
    fn submit(&self, deliveries: Vec<Delivery>) -> BoxFuture<'_, Result<(), SubmitError>>;

    /// Applies a quarantined message anew; `order_id` says where it belongs when the message does not.
    fn replay(
        &self,
        id: i64,
        order_id: Option<String>,
        actor: String,
        reason: String,
    ) -> BoxFuture<'_, Result<(), ResolveError>>;

    /// Gives a quarantined message up, for good.
    fn drop_quarantined(&self, id: i64, actor: String, reason: String) -> BoxFuture<'_, Result<(), ResolveError>>;

    /// The moment up to which everything published for a saga is known to be applied; `None` before the first canary.
    fn watermark(&self, saga: &str) -> Option<Moment>;

    /// How the running Escrow is, from memory.
    fn status(&self) -> StatusReport;

    /// What a look at database, definitions and broker found, a moment ago at most.
    fn doctor(&self) -> BoxFuture<'_, Result<Checkup, StoreError>>;

    /// What a look at the queue of a service found a moment ago; `None` while nobody waits for it, or nothing is known.
    fn queue_finding(&self, queue: &str) -> Option<QueueFinding>;

    /// Changes whenever the journal may have grown. A wake-up without data: losing one costs latency only.
    fn nudges(&self) -> watch::Receiver<u64>;
}

/// Why an action was not done. Nothing was changed, but for a lost answer to a commit.
#[derive(Debug, thiserror::Error)]
pub enum ActError {
    #[error("there is no such order")]
    NotFound,
    /// The order's version has no such step; the text names the steps it has.
    #[error("{0}")]
    UnknownStep(String),
    /// It does not fit where the order stands; the text names the state.
    #[error("{0}")]
    Misfit(String),
    /// The saga is in mode `observe`, and the action would send.
    #[error("{0}")]
    Observing(String),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why events were not taken.
#[derive(Debug, thiserror::Error)]
pub enum SubmitError {
    /// Escrow is stopping or overloaded: the same events may be sent again later.
    #[error("{0}")]
    Busy(String),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why a quarantined message stays where it is.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    #[error("there is no such message in quarantine")]
    NotFound,
    /// It was dealt with already, or still cannot be read or placed; the text says which.
    #[error("{0}")]
    Misfit(String),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// How the running Escrow is, as this replica knows it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StatusReport {
    /// Names the tap; replicas share it.
    pub name: String,
    pub started_at: Moment,
    /// `None`: events come over HTTP only.
    pub bus: Option<BusReport>,
    /// By saga.
    pub sagas: BTreeMap<String, SagaReport>,
    /// A person has the tap unbound from everything.
    pub unbound: Option<Unbound>,
    /// What is wrong and concerns no single saga, in words.
    pub problems: Vec<String>,
    /// Why the database takes no writes, while it takes none; it may well be read.
    pub refusal: Option<String>,
}

/// The kill switch, set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unbound {
    pub since: Moment,
    /// Who set it and why.
    pub why: String,
}

/// The connections to the broker.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BusReport {
    /// The connection that reads the tap stands.
    pub consuming_connected: bool,
    /// This replica has a consumer on the tap (it may be the standby).
    pub consuming: bool,
    /// The connection that publishes stands.
    pub publishing_connected: bool,
    pub tap_depth: Option<u64>,
    /// So many may wait in the tap; what is more drops the oldest.
    pub tap_bound: Option<u64>,
    /// How far the tap was behind at the last canary.
    pub lag: Option<Span>,
    pub problem: Option<String>,
}

/// Where one saga stands.
#[derive(Clone, Debug, PartialEq)]
pub struct SagaReport {
    pub watermark: Option<Moment>,
    pub sight: Sight,
    /// Watched exchanges that do not exist yet or cannot be bound, with the reason.
    pub unbound: BTreeMap<String, String>,
}

/// Whether deadlines can be trusted to fire now (rule 6).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Sight {
    #[default]
    Live,
    /// A canary is out and batches commit: deadlines wait.
    Behind,
    /// Nothing is known to be applied; the text says why.
    Blind(String),
}

/// What every handler has: what its caller may see of the database and the desk. Cheap to clone.
#[derive(Clone)]
pub struct ApiState {
    pub query: Arc<dyn Query>,
    pub desk: Arc<dyn Desk>,
    pub metrics: Arc<Metrics>,
    /// Cancelled when Escrow stops: live streams end.
    pub shutdown: CancellationToken,
    pub(super) stream_places: Arc<Semaphore>,
    pub(super) flow: Arc<Flow>,
    pub(super) access: Arc<Access>,
    /// The sagas the caller sees.
    pub(super) scope: Scope,
    /// What the caller may use; `None` where nobody has to say who he is.
    pub(super) share: Option<Arc<Share>>,
}

impl ApiState {
    /// Joins what the API stands on; everybody may come in.
    pub fn new(query: Arc<dyn Query>, desk: Arc<dyn Desk>, metrics: Arc<Metrics>, shutdown: CancellationToken) -> Self {
        let stream_places = Arc::new(Semaphore::new(STREAMS_MAX));
        let (flow, access) = (Arc::default(), Arc::default());
        Self { query, desk, metrics, shutdown, stream_places, flow, access, scope: Scope::All, share: None }
    }

    /// The same, for those alone who may come in.
    pub fn guarded_by(self, access: Arc<Access>) -> Self {
        Self { access, ..self }
    }
}
