//! Seam 1: what Escrow keeps.
//!
//! Use-case level, and never handed a connection: [`Store::apply`] loads what a batch touches, calls the pure `decide`,
//! saves what it returns, and commits, all in one transaction. Two stores stand behind it, PostgreSQL and SQLite; one
//! contract suite defines what both do (`tests/it/store_contract.rs`).
//!
//! ```text
//!   Lookup ─▶ lock rows in key order ─▶ Loaded ─▶ decide ─▶ Changes ─▶ journal + payloads + orders + outbox + … ─▶ commit
//!                        ▲                                    │ conflict: load and decide again
//!                        └────────────────────────────────────┘
//! ```
//!
//! All times are the database's. Every write transaction runs in a task of its own, so a caller that goes away cannot
//! cancel it half-way (a cancelled `begin` poisons a pooled connection of the pinned sqlx).

mod answers;
mod apply;
mod beside;
mod bulk;
mod catalog;
mod coverage;
mod cursor;
mod examine;
mod housekeeping;
mod incidents;
mod load;
mod migrations;
mod notices;
mod orders;
mod outbox;
pub mod postgres;
mod quarantine;
mod rows;
mod run;
mod saga_states;
mod save;
mod session;
mod sql_store;
pub mod sqlite;
mod statement;
mod trail;

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use uuid::Uuid;

pub use crate::saga::batch::StoredPayload;
use crate::saga::batch::{Changes, Loaded, Lookup};
use crate::saga::brake::{Brake, SagaState};
use crate::saga::definition::Mode;
use crate::saga::incident::decide::{Changes as IncidentChanges, Standing};
use crate::saga::journal::Broken;
use crate::saga::order::{Doubt, Order, OrderKey};
use crate::saga::outgoing::Outgoing;
use crate::saga::time::{Moment, Span};

pub use answers::{
    Backlog, Connections, IncidentFilter, JournalFilter, JournalRow, Listed, NamedOrder, OpenCounts, OrderFilter, Page,
    QuarantineFilter, QuarantineGrowth, QuarantineRow, StatusCount, StepStats, StuckGroup, WaitingCount,
};
pub use bulk::{Bulk, BulkAsk, BulkOrder, BulkOutcome, BulkState, BulkTask, BulkTurn, ORDERS_MAX as BULK_ORDERS_MAX};
pub use examine::{Examined, Stored, examine};
pub use incidents::LEASE as INCIDENTS_LEASE;
pub use notices::{ClaimedNotice, NoticeRow, NoticeVerdict, Notices};
pub use run::SqlStore;

/// Migrates the database at `url` and opens it: `postgres://…`, `sqlite://escrow.db`, or `sqlite::memory:`.
///
/// # Errors
/// [`StoreError::Unavailable`] when it cannot be reached now, [`StoreError::Unsupported`] when it cannot be served at all.
pub async fn connect(url: &str) -> Result<Arc<dyn Store>, StoreError> {
    Ok(match kind(url)? {
        Database::Postgres => Arc::new(postgres::connect(url).await?),
        Database::Sqlite => Arc::new(sqlite::connect(url).await?),
    })
}

/// Brings the tables at `url` up to this program's version, and says which that is.
///
/// # Errors
/// As [`connect`].
pub async fn migrate(url: &str) -> Result<i64, StoreError> {
    match kind(url)? {
        Database::Postgres => postgres::migrate(url).await,
        Database::Sqlite => sqlite::migrate(url).await,
    }
}

enum Database {
    Postgres,
    Sqlite,
}

fn kind(url: &str) -> Result<Database, StoreError> {
    match url.split_once(':').map(|(scheme, _)| scheme) {
        Some("postgres" | "postgresql") => Ok(Database::Postgres),
        Some("sqlite") => Ok(Database::Sqlite),
        // The URL may hold a password: only its scheme is told.
        Some(scheme) => Err(StoreError::Unsupported(format!("`{scheme}:` is neither postgres: nor sqlite:"))),
        None => Err(StoreError::Unsupported("the database URL begins with neither postgres: nor sqlite:".to_owned())),
    }
}

/// The pure part of [`Store::apply`]; may be called more than once.
pub type Decide = Arc<dyn Fn(&Loaded) -> Changes + Send + Sync>;

/// What a caller can do about a failed call.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database is away, read-only, full, or too slow: back off and try the same again. Nothing was saved, or, when the
    /// answer to a commit was lost, everything was: applying the same inputs again is safe.
    #[error("the database cannot be used now")]
    Unavailable(#[source] sqlx::Error),
    /// The database refuses this very content; trying again will not help. Nothing was saved.
    #[error("the database refuses the content")]
    Refused(#[source] sqlx::Error),
    /// What is stored cannot be read as what it should be.
    #[error("stored data cannot be read: {0}")]
    Corrupt(String),
    /// The database is not one this program can serve: refuse to start.
    #[error("the database cannot be served: {0}")]
    Unsupported(String),
    /// The page's cursor was not given by this list: the caller's mistake.
    #[error("the cursor is not one this list gave")]
    BadCursor,
}

/// What a committed batch was.
#[derive(Debug)]
pub struct Committed {
    /// By the database's clock.
    pub now: Moment,
    pub changes: Changes,
}

/// What became of two batches written beside each other.
#[derive(Debug)]
pub struct Beside {
    pub first: Result<Committed, StoreError>,
    /// `None` where it had no turn.
    pub last: Option<Result<Committed, StoreError>>,
}

/// What the loops need. Every method is one use case, and one transaction where it writes.
pub trait Store: Query + Notices {
    /// Runs `decide` over what `lookup` names and saves what it returns.
    ///
    /// After `Ok`, all changes are durable together. After `Err`, either nothing is, or (a lost answer to a commit) all are.
    /// Conflicts are retried inside.
    fn apply(&self, lookup: Lookup, decide: Decide) -> BoxFuture<'_, Result<Committed, StoreError>>;

    /// Whether [`apply_beside`](Self::apply_beside) is faster than one after the other.
    fn has_lanes(&self) -> bool {
        false
    }

    /// Two batches that share no order, at the same time. The last is committed only after the first; what it has to wait for
    /// does not block anybody else.
    ///
    /// For each, what [`apply`](Self::apply) says. Where the first has an error, or an unknown version, nothing of the last was saved.
    fn apply_beside(&self, first: (Lookup, Decide), last: (Lookup, Decide)) -> BoxFuture<'_, Beside> {
        Box::pin(beside::one_after_the_other(self.apply(first.0, first.1), self.apply(last.0, last.1)))
    }

    /// The earliest armed deadline of all orders after `after`.
    fn next_due(&self, after: Option<Moment>) -> BoxFuture<'_, Result<Option<Moment>, StoreError>>;

    /// Leases up to `limit` outbox rows whose turn it is: none of its order before it is unsettled, and no one else's lease
    /// is running. A lease that runs out is free again.
    fn claim_outbox(&self, owner: Uuid, lease: Span, limit: usize) -> BoxFuture<'_, Result<Vec<Claimed>, StoreError>>;

    /// Gives leased rows back before their lease ends, to be claimed again not before `after`.
    fn release_outbox(&self, keys: Vec<Uuid>, after: Span) -> BoxFuture<'_, Result<(), StoreError>>;

    /// Applies a definition version, with its mode if it is the saga's first. Where a higher version is stored, nothing is.
    fn save_definition(&self, definition: NewDefinition) -> BoxFuture<'_, Result<(), StoreError>>;

    /// Changes the mode of a saga; journaled with actor and reason in the saga's own trail.
    fn set_mode(
        &self,
        saga: String,
        mode: Mode,
        actor: String,
        reason: String,
    ) -> BoxFuture<'_, Result<(), StoreError>>;

    /// Applies a stored version again, after all others: new orders open on it. Journaled with actor and reason as a change of mode is.
    fn apply_version(
        &self,
        saga: String,
        version: u32,
        actor: String,
        reason: String,
    ) -> BoxFuture<'_, Result<(), StoreError>>;
    /// Takes the brake of a saga off: it is not latched and counts from nothing. Journaled as a change of mode is. Gives the brake
    /// as it was.
    fn reset_brake(&self, saga: String, actor: String, reason: String) -> BoxFuture<'_, Result<Brake, StoreError>>;

    /// Reads or creates the row of a tap or of HTTP ingest.
    fn tap(&self, name: String) -> BoxFuture<'_, Result<TapRow, StoreError>>;

    /// Saves what a look at an exchange found; `absent_at` is the moment before the look when it was not there.
    fn save_binding(&self, tap: String, binding: BindingRow) -> BoxFuture<'_, Result<(), StoreError>>;

    /// Forgets an exchange that no version watches any more.
    fn forget_binding(&self, tap: String, exchange: String) -> BoxFuture<'_, Result<(), StoreError>>;
    /// The kill switch of a tap as it stands; `None` where nobody ever touched it.
    fn switch(&self, tap: String) -> BoxFuture<'_, Result<Option<Switch>, StoreError>>;

    /// Takes a tap from the services' exchanges, or gives it back; kept with actor and reason. Taking it marks all its bindings as
    /// gone from this moment on.
    fn set_switch(&self, to: SwitchTo) -> BoxFuture<'_, Result<(), StoreError>>;

    /// Says that events over HTTP are being accepted at this moment; a pause longer than `pause` begins a new interval.
    fn accepting(&self, name: String, pause: Span) -> BoxFuture<'_, Result<TapRow, StoreError>>;

    /// Records doubts outside a batch (gaps found by the bus).
    fn record_doubts(&self, doubts: Vec<crate::saga::batch::NewDoubt>) -> BoxFuture<'_, Result<(), StoreError>>;

    /// Lets one replica at a time run a named piece of housekeeping: `true` if this call got it for `lease`.
    fn lease(&self, name: String, owner: Uuid, lease: Span) -> BoxFuture<'_, Result<bool, StoreError>>;

    /// Begins an action on the orders its filter names at this moment; one with this id that is there already is given as it is.
    /// `None` when they are more than [`BULK_ORDERS_MAX`].
    fn begin_bulk(&self, id: Uuid, ask: BulkAsk) -> BoxFuture<'_, Result<Option<Bulk>, StoreError>>;

    /// The next order of an action that is due, with the action leased: no one else is given an order of it meanwhile.
    fn claim_bulk(&self, owner: Uuid, lease: Span) -> BoxFuture<'_, Result<BulkTurn, StoreError>>;

    /// Writes down what became of an order, the first time; the next of its action is due `every` after this one was.
    fn settle_bulk(
        &self,
        id: Uuid,
        place: u64,
        outcome: BulkOutcome,
        every: Span,
    ) -> BoxFuture<'_, Result<(), StoreError>>;

    /// Stops an action if it is running, and gives it as it is then.
    fn stop_bulk(&self, id: Uuid, actor: String, reason: String) -> BoxFuture<'_, Result<Option<Bulk>, StoreError>>;

    /// Saves what was decided about incidents, with what is to be told of it. `false`: `owner` does not hold the lease
    /// [`INCIDENTS_LEASE`], and nothing was saved.
    fn save_incidents(&self, owner: Uuid, changes: IncidentChanges) -> BoxFuture<'_, Result<bool, StoreError>>;

    /// A person knows of an incident that is open. Kept with actor and reason on its row, where the last word counts. Gives its
    /// last episode, whether that is open or not.
    fn ack_incident(
        &self,
        id: String,
        actor: String,
        reason: String,
    ) -> BoxFuture<'_, Result<Option<Standing>, StoreError>>;

    /// Forgets outbox rows and notices settled, incidents and doubts resolved, bulk actions ended, and idempotency keys made before `before`, and watermarks that have not moved
    /// for three months more. Returns how many rows went.
    fn purge(&self, before: Moment) -> BoxFuture<'_, Result<u64, StoreError>>;

    /// Replaces the statistics of steps by what the orders updated since `since` say.
    fn refresh_stats(&self, since: Moment) -> BoxFuture<'_, Result<(), StoreError>>;

    /// How many connections this process has to the database now.
    fn connections(&self) -> Connections;

    /// Waits for what is in hand and closes the connections.
    fn close(&self) -> BoxFuture<'_, ()>;
}

/// What people and the loops read. Every list is keyset-paged and comes from an index.
pub trait Query: Send + Sync {
    /// The database's clock.
    fn now(&self) -> BoxFuture<'_, Result<Moment, StoreError>>;

    /// The order, if there is one.
    fn find_order(&self, key: OrderKey) -> BoxFuture<'_, Result<Option<Order>, StoreError>>;

    /// Orders by filter, newest created first.
    fn list_orders(&self, filter: OrderFilter, page: Page) -> BoxFuture<'_, Result<Listed<Order>, StoreError>>;

    /// Up to `limit` orders that have a deadline at or before the watermark of their saga, earliest first. Takes no locks.
    fn due_orders(
        &self,
        watermarks: BTreeMap<String, Moment>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<OrderKey>, StoreError>>;

    /// An estimate of how many orders the filter names; exact up to ten thousand.
    fn count_orders(&self, filter: OrderFilter) -> BoxFuture<'_, Result<u64, StoreError>>;

    /// How many orders of each saga are in each status.
    fn count_by_status(&self) -> BoxFuture<'_, Result<Vec<StatusCount>, StoreError>>;

    /// How many orders wait for each step, in one that waits for several in each of them; and what is in quarantine, by reason.
    fn count_open(&self) -> BoxFuture<'_, Result<OpenCounts, StoreError>>;

    /// The stuck orders grouped by saga, step and reason, with the first and last moment and up to ten samples each.
    fn stuck_groups(&self) -> BoxFuture<'_, Result<Vec<StuckGroup>, StoreError>>;

    /// All incidents that are open, oldest first.
    fn open_incidents(&self) -> BoxFuture<'_, Result<Vec<Standing>, StoreError>>;

    /// Incidents by filter, opened last first.
    fn incidents(&self, filter: IncidentFilter, page: Page) -> BoxFuture<'_, Result<Listed<Standing>, StoreError>>;

    /// The episodes of one incident, newest first, at most `limit`.
    fn incident_episodes(&self, id: String, limit: usize) -> BoxFuture<'_, Result<Vec<Standing>, StoreError>>;

    /// What was told of an episode and to whom, in its sequence: the last `limit` of it.
    fn incident_notices(
        &self,
        id: String,
        episode: u64,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<NoticeRow>, StoreError>>;

    /// The number of the last episode of each of these incidents that had one.
    fn last_episodes(&self, ids: Vec<String>) -> BoxFuture<'_, Result<BTreeMap<String, u64>, StoreError>>;

    /// By saga, what came into quarantine since then and is still there.
    fn quarantine_growth(&self, since: Moment) -> BoxFuture<'_, Result<Vec<QuarantineGrowth>, StoreError>>;

    /// Entries of one order after a sequence, oldest first.
    fn audit(&self, key: OrderKey, after: u64, limit: usize) -> BoxFuture<'_, Result<Vec<JournalRow>, StoreError>>;

    /// Entries of all orders, newest first.
    fn journal(&self, filter: JournalFilter, page: Page) -> BoxFuture<'_, Result<Listed<JournalRow>, StoreError>>;

    /// Entries committed after `after` (a position of this store), oldest first: what the live stream follows.
    fn journal_since(&self, after: i64, limit: usize) -> BoxFuture<'_, Result<Vec<JournalRow>, StoreError>>;

    /// The stored message of a journal entry, unless it was erased or is not kept.
    fn payload(&self, key: OrderKey, sequence: u64) -> BoxFuture<'_, Result<Option<StoredPayload>, StoreError>>;

    /// Reads the whole trail of one order, folds it, and holds it against the stored row.
    fn verify(&self, key: OrderKey) -> BoxFuture<'_, Result<Result<u64, Broken>, StoreError>>;

    /// Keys of all orders after `after`, by id and then saga: for walking all of them.
    fn keys_after(&self, after: Option<OrderKey>, limit: usize) -> BoxFuture<'_, Result<Vec<OrderKey>, StoreError>>;

    /// Every stored definition version, with the number of its open orders.
    fn definitions(&self) -> BoxFuture<'_, Result<Vec<DefinitionRow>, StoreError>>;

    /// The mode of each saga.
    fn modes(&self) -> BoxFuture<'_, Result<BTreeMap<String, Mode>, StoreError>>;

    /// What is shared about each saga that has something: its brake, and where its own trail ends.
    fn saga_states(&self) -> BoxFuture<'_, Result<BTreeMap<String, SagaState>, StoreError>>;

    /// What is in quarantine, newest first.
    fn quarantine(
        &self,
        filter: QuarantineFilter,
        page: Page,
    ) -> BoxFuture<'_, Result<Listed<QuarantineRow>, StoreError>>;

    /// One quarantined message with its body.
    fn quarantined(&self, id: i64) -> BoxFuture<'_, Result<Option<QuarantineRow>, StoreError>>;

    /// How many messages wait in quarantine for each reason, by reason.
    fn quarantine_reasons(&self) -> BoxFuture<'_, Result<Vec<(String, u64)>, StoreError>>;

    /// Doubts that are not resolved, newest first, at most `limit`.
    fn doubts(&self, limit: usize) -> BoxFuture<'_, Result<Vec<Doubt>, StoreError>>;

    /// All bindings of a tap.
    fn bindings(&self, tap: String) -> BoxFuture<'_, Result<Vec<BindingRow>, StoreError>>;

    /// How long the steps of a saga take: over the last `window`, measured now from the newest orders; without one, as last
    /// made by [`Store::refresh_stats`].
    fn stats(&self, saga: String, window: Option<Span>) -> BoxFuture<'_, Result<Vec<StepStats>, StoreError>>;

    /// A bulk action and how far it is.
    fn bulk(&self, id: Uuid) -> BoxFuture<'_, Result<Option<Bulk>, StoreError>>;

    /// Bulk actions and how far they are, the newest first; all, or those in this state.
    fn bulks(&self, state: Option<BulkState>, page: Page) -> BoxFuture<'_, Result<Listed<Bulk>, StoreError>>;

    /// The orders of a bulk action in their sequence; all, or those with this outcome.
    fn bulk_orders(
        &self,
        id: Uuid,
        outcome: Option<String>,
        page: Page,
    ) -> BoxFuture<'_, Result<Listed<BulkOrder>, StoreError>>;

    /// How much waits in the outbox and since when.
    fn outbox_backlog(&self) -> BoxFuture<'_, Result<Backlog, StoreError>>;

    /// The events a saga met, by exchange and name. The row without a name is all those beyond
    /// [`STRANGERS_MAX`](crate::saga::coverage::STRANGERS_MAX) together.
    fn events_met(&self, saga: String) -> BoxFuture<'_, Result<Vec<EventMet>, StoreError>>;
}

/// An event a saga met, named by it or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventMet {
    /// Empty for events over HTTP.
    pub exchange: String,
    pub event: String,
    /// Deliveries.
    pub seen: u64,
    pub last_at: Moment,
}

/// A leased outbox row; a retry comes with the stored message it re-sends.
#[derive(Clone, Debug)]
pub struct Claimed {
    pub outgoing: Outgoing,
    /// For retries: the message, or `None` if its content was erased or was too large to keep.
    pub original: Option<StoredPayload>,
    /// Leases before this one that did not settle it.
    pub tries: u32,
}

/// A definition version to be stored.
#[derive(Clone, Debug)]
pub struct NewDefinition {
    pub saga: String,
    pub version: u32,
    pub text: String,
    pub fingerprint: [u8; 32],
    pub mode: Mode,
}

/// A stored definition version.
#[derive(Clone, Debug, PartialEq)]
pub struct DefinitionRow {
    pub saga: String,
    pub version: u32,
    pub text: String,
    pub fingerprint: [u8; 32],
    pub stored_at: Moment,
    /// New orders open on the version applied last.
    pub applied_at: Moment,
    pub open_orders: u64,
}

/// Where a tap stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TapRow {
    pub name: String,
    /// `None` until the first canary came back.
    pub watermark: Option<Moment>,
    /// When its last batch was committed.
    pub committed_at: Option<Moment>,
    /// For HTTP: since when events have been accepted without a break.
    pub accepting_since: Option<Moment>,
    /// For HTTP: the last moment they were.
    pub accepting_until: Option<Moment>,
    /// For HTTP: when the break before `accepting_since` began; `None` if there was none.
    pub break_began: Option<Moment>,
    pub now: Moment,
}

/// The kill switch of a tap: while it is unbound, no replica binds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Switch {
    pub unbound: bool,
    pub at: Moment,
    pub actor: String,
    pub reason: String,
}

/// A turn of the kill switch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SwitchTo {
    pub tap: String,
    pub unbound: bool,
    pub actor: String,
    pub reason: String,
}

/// What is known of one watched exchange.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BindingRow {
    pub exchange: String,
    pub bound: bool,
    /// The last look that found the exchange absent: nothing can have been published to it before.
    pub absent_at: Option<Moment>,
    /// The last look that found it there and bound it.
    pub bound_at: Option<Moment>,
    /// Why it cannot be bound, where it cannot.
    pub problem: Option<String>,
    /// The keys known to be bound; `None` where nobody has written them down.
    pub keys: Option<Vec<String>>,
}
