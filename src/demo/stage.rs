//! Sets the stage: a bus, an Escrow that follows the definition, and the services, none of them at work yet.
//!
//! The services' exchanges are declared first and Escrow is bound to them before the first order: a demo is about orders that
//! go wrong, not about the ones that were under way when it came.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::time::sleep;
use uuid::Uuid;

use super::board::{Board, Plan};
use super::faults::{Faults, Timing};
use super::services::order::OrderIds;
use super::services::{Company, EXCHANGES};
use crate::app::embedded::{PassingDatabase, bus_in_memory, bus_on_broker, services_on_broker};
use crate::app::{self, Bus, Running};
use crate::bus::Tap;
use crate::bus::services::ServiceLink;
use crate::config::{DemoConfig, DoctorConfig};
use crate::saga::incident::Untold;
use crate::store::{self, Store};
use crate::telemetry::Traces;
use crate::worker::definitions;

/// Names the tap: a demo on a broker is never another Escrow's replica.
const NAME: &str = "demo";
/// A queue is not deleted by itself: what waits in it may be somebody's only copy.
pub const LEFT_BEHIND: &str =
    "  The queues escrow.tap.demo and escrow.lost.demo stay on the broker; delete them when you need them no more.";
/// Where the API listens when nothing is said, if it is free.
const USUAL_PORT: u16 = 8080;
/// Bodies up to this size are kept; the services' are far smaller.
const BODY_KEEP_BYTES: usize = 1024 * 1024;
/// How often to look whether Escrow is bound.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// What a test says otherwise.
pub struct Parts {
    /// A name for messages, and the text.
    pub definition: (String, String),
    pub timing: Timing,
}

/// Everything that runs.
pub struct Stage {
    pub company: Arc<Company>,
    pub escrow: Running,
    pub board: Board,
    /// Last, so that it goes after everything that uses it.
    database: PassingDatabase,
}

impl Stage {
    /// Starts everything but the work.
    ///
    /// # Errors
    /// The port is taken, the broker refuses, or the machine's temporary folder cannot be written to.
    pub async fn set(settings: &DemoConfig, parts: Parts) -> anyhow::Result<Self> {
        let listener = listen(settings.listen)?;
        let doorway = app::Doorway::of(listener.local_addr()?, settings.http.clone())?;
        let (bus, link) = match &settings.amqp_url {
            Some(url) => (bus_on_broker(url, NAME)?, services_on_broker(url)?),
            None => bus_in_memory(NAME),
        };
        let company = found(settings, parts.timing, link).await?;
        let database = PassingDatabase::create()?;
        let store = store::connect(&database.url()).await.context("the demo's database cannot be opened")?;
        definitions::propose(store.as_ref(), definitions::parse_all(vec![parts.definition])?).await?;
        let catalog = definitions::load(store.as_ref()).await?;
        let endpoint = settings.otlp_endpoint.as_deref();
        let traces = endpoint.map(|endpoint| Traces::start(endpoint, NAME)).transpose()?;
        let parts = app::Parts {
            store: Arc::clone(&store),
            catalog: catalog.clone(),
            bus: Some(Bus { tap: Arc::clone(&bus.tap), sink: Arc::clone(&bus.sink) }),
            listener,
            doorway,
            name: NAME.into(),
            body_keep_bytes: BODY_KEEP_BYTES,
            traces,
            alerts: None,
            routes: Arc::new(Untold),
            doctor: DoctorConfig {
                database_url: database.url(),
                amqp_url: settings.amqp_url.clone(),
                management_url: None,
                sagas: None,
                name: NAME.into(),
            },
        };
        let escrow = app::start(parts).await?;
        bound(store.as_ref(), bus.tap.as_ref()).await?;
        let plan = Plan { run_for: settings.run_for, rate: settings.rate, seed: settings.seed };
        let metrics = Arc::clone(&escrow.escrow.metrics);
        let board = Board::new(store, metrics, catalog, Arc::clone(&company), escrow.address, plan).await?;
        Ok(Self { company, escrow, board, database })
    }

    /// Where the API listens.
    pub fn address(&self) -> SocketAddr {
        self.escrow.address
    }

    /// Stops Escrow and removes its database.
    pub async fn clear(self) {
        let Self { company: _, escrow, board, database } = self;
        drop(board);
        escrow.stop().await;
        drop(database);
    }
}

/// The services alone, on a broker.
///
/// # Errors
/// There is no broker to meet on, or it refuses.
pub async fn company(settings: &DemoConfig, timing: Timing) -> anyhow::Result<Arc<Company>> {
    let url = settings.amqp_url.as_ref().context("services without an Escrow need a broker: give --amqp-url")?;
    found(settings, timing, services_on_broker(url)?).await
}

async fn found(settings: &DemoConfig, timing: Timing, link: Arc<dyn ServiceLink>) -> anyhow::Result<Arc<Company>> {
    // On a broker, whoever follows these orders may know those of an earlier run.
    let run = if settings.amqp_url.is_some() { short_name() } else { String::new() };
    Ok(Company::found(link, Faults::new(settings.seed, timing), OrderIds::new(&run)).await?)
}

/// Six characters no other run has.
fn short_name() -> String {
    Uuid::new_v4().simple().to_string().chars().take(6).collect()
}

/// Waits until Escrow is bound to all of the services' exchanges.
async fn bound(store: &dyn Store, tap: &dyn Tap) -> anyhow::Result<()> {
    loop {
        let rows = store.bindings(tap.name().to_owned()).await?;
        let is_bound = |exchange: &str| rows.iter().any(|row| row.bound && row.exchange == exchange);
        if EXCHANGES.iter().all(|exchange| is_bound(exchange)) {
            return Ok(());
        }
        sleep(LOOK_EVERY).await;
    }
}

fn listen(wanted: Option<SocketAddr>) -> anyhow::Result<TcpListener> {
    if let Some(address) = wanted {
        return TcpListener::bind(address)
            .with_context(|| format!("cannot listen on {address}: choose another address with --listen"));
    }
    TcpListener::bind((Ipv4Addr::LOCALHOST, USUAL_PORT))
        .or_else(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))
        .context("no free port for the API: choose an address with --listen")
}
