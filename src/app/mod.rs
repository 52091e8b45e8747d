//! Puts a running Escrow together: the only place that names concrete stores and buses.
//!
//! ```text
//!   settings ─▶ store ─▶ definitions ─▶ catalog ─┐
//!   settings ─▶ bus (tap, sink) ─────────────────┼─▶ start ─▶ loops + HTTP ─▶ shutdown: finish the batch in hand, acknowledge,
//!                                                ┘            flush the outbox, close
//! ```

mod desk;
mod doctor;
pub mod embedded;
mod files;
mod peek;
mod rabbit;
mod serving;
mod surgery;

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use crate::alert::{self, Alerts};
use crate::bus::http::HttpSource;
use crate::bus::{Sink, Source, Tap, http as http_bus, rabbitmq};
use crate::config::{AlertsConfig, DoctorConfig, ServeConfig};
use crate::http::state::ApiState;
use crate::saga::catalog::Catalog;
use crate::saga::incident::decide::Knobs;
use crate::saga::incident::{Routes, Untold};
use crate::store::{self, Store};
use crate::telemetry::{Metrics, Traces};
use crate::worker::alerting;
use crate::worker::bulk::Bulk;
use crate::worker::commands::Commands;
use crate::worker::deadlines::Deadlines;
use crate::worker::definitions::{self, Definitions};
use crate::worker::doubts::Doubts;
use crate::worker::gauges::Gauges;
use crate::worker::incidents::{self, Incidents};
use crate::worker::ingest::Ingest;
use crate::worker::looks::{self, Looks};
use crate::worker::queues::Queues;
use crate::worker::relay::Relay;
use crate::worker::watermark::{Accepting, Pulse, Watermarks};
use crate::worker::{Escrow, Worker, WorkerError, drive, housekeeping, traces};

use self::desk::{RunningDesk, Seen};
use self::surgery::Surgery;
pub use doctor::doctor;
pub use files::read_definitions;
pub use peek::peek;
pub use rabbit::{bind, plan, unbind};
pub use serving::Doorway;

/// A batch of a thousand is read from the backlog at once: more gives little and makes every lock longer.
const TAP: rabbitmq::Options = rabbitmq::Options {
    bound: rabbitmq::Bound { messages: 1_000_000, bytes: 4 << 30 },
    batch_messages: 1_000,
    batch_bytes: 8 << 20,
};

/// How long a stopping Escrow waits for its loops; a loop that hangs on a dead server must not keep it from ending.
const STOP_WITHIN: Duration = Duration::from_secs(20);

/// How long the last canary may take: it is worth little when the database or the broker is away.
const LAST_WORD_WITHIN: Duration = Duration::from_secs(2);

/// Both halves of a bus.
#[derive(Clone)]
pub struct Bus {
    pub tap: Arc<dyn Tap>,
    pub sink: Arc<dyn Sink>,
}

/// What a running Escrow is made of.
pub struct Parts {
    pub store: Arc<dyn Store>,
    pub catalog: Catalog,
    pub bus: Option<Bus>,
    pub listener: TcpListener,
    pub doorway: Doorway,
    pub name: String,
    pub body_keep_bytes: usize,
    /// `None`: no traces.
    pub traces: Option<Traces>,
    /// Who is to be told of incidents.
    pub routes: Arc<dyn Routes>,
    /// The channels they are told over; `None`: what is to be told stays in the store.
    pub alerts: Option<Alerts>,
    /// What its doctor looks at.
    pub doctor: DoctorConfig,
}

/// A running Escrow.
pub struct Running {
    pub escrow: Arc<Escrow>,
    pub address: SocketAddr,
    shutdown: CancellationToken,
    tasks: TaskTracker,
    bus: Option<Bus>,
    /// Holds the lease of the incidents, if this process has it.
    owner: Uuid,
}

/// Runs Escrow until SIGTERM or SIGINT.
///
/// # Errors
/// It cannot start: the settings, the definitions or the database are not right.
pub async fn serve(settings: ServeConfig) -> anyhow::Result<()> {
    let doctor = DoctorConfig {
        database_url: settings.database_url.clone(),
        amqp_url: settings.amqp_url.clone(),
        management_url: settings.management_url,
        sagas: Some(settings.sagas.clone()),
        name: settings.name.clone(),
    };
    let alerts = load_alerts(settings.alerts)?;
    let doorway = Doorway::of(settings.listen, settings.http)?;
    let files = read_definitions(&settings.sagas)?;
    let sagas = definitions::parse_all(files)?;
    let store = store::connect(&settings.database_url).await.context("the database cannot be opened")?;
    definitions::propose(store.as_ref(), sagas).await?;
    let catalog = definitions::load(store.as_ref()).await?;
    let bus = match &settings.amqp_url {
        Some(url) => {
            let (tap, sink) = rabbitmq::start(url, &settings.name, TAP)?;
            Some(Bus { tap, sink })
        }
        None => None,
    };
    let listener =
        TcpListener::bind(settings.listen).with_context(|| format!("cannot listen on {}", settings.listen))?;
    let endpoint = settings.otlp_endpoint.as_deref();
    let traces = endpoint.map(|endpoint| Traces::start(endpoint, &settings.name)).transpose()?;
    let parts = Parts {
        store,
        catalog,
        bus,
        listener,
        doorway,
        name: settings.name,
        body_keep_bytes: settings.body_bytes_max,
        traces,
        routes: routes(alerts.as_ref()),
        alerts,
        doctor,
    };
    let running = start(parts).await?;
    tracing::info!(address = %running.address, "serving");
    wait_for_signal().await;
    tracing::info!("stopping: finishing what is in hand");
    running.stop().await;
    Ok(())
}

fn load_alerts(config: AlertsConfig) -> anyhow::Result<Option<Alerts>> {
    let Some(rules) = alert::rules::file::load(config.file.as_deref())? else { return Ok(None) };
    Ok(Some(Alerts::new(rules, config.name).context("no secure calls can be made from here")?))
}

fn routes(alerts: Option<&Alerts>) -> Arc<dyn Routes> {
    match alerts {
        Some(alerts) => Arc::clone(&alerts.rules) as Arc<dyn Routes>,
        None => Arc::new(Untold),
    }
}

/// Starts every loop and the API.
///
/// # Errors
/// The listener cannot be served or the calendar cannot start.
pub async fn start(parts: Parts) -> anyhow::Result<Running> {
    let Parts { store, catalog, bus, listener, doorway, name, body_keep_bytes, traces, routes, alerts, doctor } = parts;
    let address = listener.local_addr()?;
    let metrics = Arc::new(Metrics::new());
    let escrow = Arc::new(Escrow::new(store, Arc::new(catalog), Arc::clone(&metrics)));
    let ended = traces.as_ref().and_then(Traces::take_ended);
    if let Some(traces) = traces {
        let _ = escrow.traces.set(traces);
    }
    let watermarks = Arc::new(Watermarks::new(bus.as_ref().map(|bus| bus.tap.name().to_owned())));
    if let Some(bus) = &bus {
        looks::hold_unbound(&escrow, bus.tap.name()).await?;
    }
    watermarks.load_over_http(&escrow).await?;
    let (http_source, door) = http_bus::channel();
    let shutdown = CancellationToken::new();
    let tasks = TaskTracker::new();

    if let Some(ended) = ended {
        tasks.spawn(traces::follow(Arc::clone(&escrow), ended, shutdown.clone()));
    }
    start_ingest(&escrow, &watermarks, bus.as_ref(), http_source, body_keep_bytes, &shutdown, &tasks);
    let commands = Commands::new(Arc::clone(&escrow), body_keep_bytes);
    tasks.spawn(drive(Box::new(Bulk::new(Arc::clone(&escrow), commands)), shutdown.clone()));
    let telling = alerts.iter().flat_map(|alerts| alerting::workers(&escrow, alerts));
    for worker in workers(&escrow, &watermarks, bus.as_ref()).into_iter().chain(telling) {
        tasks.spawn(drive(worker, shutdown.clone()));
    }
    let owner = Uuid::new_v4();
    let parts = incidents::Parts {
        watermarks: Arc::clone(&watermarks),
        tap: bus.as_ref().map(|bus| Arc::clone(&bus.tap)),
        routes,
        knobs: Knobs::default(),
        owner,
    };
    tasks.spawn(drive(Box::new(Incidents::new(Arc::clone(&escrow), parts)), shutdown.clone()));
    let scheduler = housekeeping::start(Arc::clone(&escrow)).await?;
    let desk = RunningDesk::new(Seen {
        escrow: Arc::clone(&escrow),
        watermarks: Arc::clone(&watermarks),
        tap: bus.as_ref().map(|bus| Arc::clone(&bus.tap)),
        commands: Commands::new(Arc::clone(&escrow), body_keep_bytes),
        door,
        name,
        surgery: Arc::new(Surgery::new(doctor)),
    });
    let state = api_state(&escrow, desk, &shutdown).guarded_by(doorway.access);
    let ending = shutdown.clone();
    tasks.spawn(async move {
        if let Err(error) = crate::http::serving::serve(listener, doorway.serving, state, ending.clone()).await {
            tracing::error!(%error, "the API cannot be served; stopping");
            ending.cancel();
        }
        drop(scheduler);
    });
    tasks.close();
    Ok(Running { escrow, address, shutdown, tasks, bus, owner })
}

impl Running {
    /// Finishes the batch in hand, acknowledges it, flushes and closes. Never hangs.
    pub async fn stop(self) {
        self.shutdown.cancel();
        let orderly = async {
            self.tasks.wait().await;
            if let Some(bus) = &self.bus {
                self.leave_word(bus.tap.as_ref()).await;
                bus.tap.close().await;
            }
            if let Err(error) = incidents::let_go(&self.escrow, self.owner).await {
                tracing::warn!(%error, "the lease of the incidents ends by itself");
            }
            self.escrow.store.close().await;
            let escrow = Arc::clone(&self.escrow);
            let stopping = move || escrow.traces.get().map(Traces::stop);
            let _ = tokio::task::spawn_blocking(stopping).await;
        };
        if tokio::time::timeout(STOP_WITHIN, orderly).await.is_err() {
            tracing::warn!("not everything could be finished in time; what is left comes again at the next start");
        }
    }

    /// Leaves a canary in the tap that carries the stored watermark: whoever reads it finds out if the database was set back
    /// while no Escrow ran to remember.
    async fn leave_word(&self, tap: &dyn Tap) {
        let word = async {
            let row = self.escrow.store.tap(tap.name().to_owned()).await?;
            tap.send_canary(row.now, row.watermark).await?;
            Ok::<(), WorkerError>(())
        };
        match tokio::time::timeout(LAST_WORD_WITHIN, word).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "no canary could be left in the tap"),
            Err(_) => tracing::warn!("no canary could be left in the tap in time"),
        }
    }

    /// Resolves when this Escrow began to stop.
    pub async fn stopping(&self) {
        self.shutdown.cancelled().await;
    }
}

fn start_ingest(
    escrow: &Arc<Escrow>,
    watermarks: &Arc<Watermarks>,
    bus: Option<&Bus>,
    mut http_source: HttpSource,
    body_keep_bytes: usize,
    shutdown: &CancellationToken,
    tasks: &TaskTracker,
) {
    let ingest = || Ingest::new(Arc::clone(escrow), Arc::clone(watermarks), body_keep_bytes);
    if let Some(bus) = bus {
        tasks.spawn(ingest().follow_tap(Arc::clone(&bus.tap), shutdown.clone()));
    }
    let (mut over_http, shutdown) = (ingest(), shutdown.clone());
    tasks.spawn(async move {
        while !shutdown.is_cancelled() {
            over_http.follow(&mut http_source as &mut dyn Source, &shutdown).await;
        }
    });
}

fn workers(escrow: &Arc<Escrow>, watermarks: &Arc<Watermarks>, bus: Option<&Bus>) -> Vec<Box<dyn Worker>> {
    let shared = || Arc::clone(escrow);
    let tap = || bus.map(|bus| Arc::clone(&bus.tap));
    let mut workers: Vec<Box<dyn Worker>> = vec![
        Box::new(Pulse::new(shared(), tap())),
        Box::new(Deadlines::new(shared(), Arc::clone(watermarks))),
        Box::new(Relay::new(shared(), bus.map(|bus| Arc::clone(&bus.sink)))),
        Box::new(Accepting::new(shared(), Arc::clone(watermarks))),
        Box::new(Doubts::new(shared())),
        Box::new(Definitions::new(shared())),
        Box::new(Gauges::new(shared(), Arc::clone(watermarks), tap())),
    ];
    if let Some(bus) = bus {
        workers.push(Box::new(Looks::new(shared(), Arc::clone(&bus.tap))));
        workers.push(Box::new(Queues::new(shared(), Arc::clone(&bus.sink))));
    }
    workers
}

fn api_state(escrow: &Arc<Escrow>, desk: RunningDesk, shutdown: &CancellationToken) -> ApiState {
    let query: Arc<dyn store::Query> = Arc::clone(&escrow.store) as Arc<dyn store::Query>;
    ApiState::new(query, Arc::new(desk), Arc::clone(&escrow.metrics), shutdown.child_token())
}

/// Resolves on SIGTERM or SIGINT.
pub async fn wait_for_signal() {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut term), Ok(mut int)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) else {
        tracing::error!("no signals on this system: stop it by killing it");
        return std::future::pending().await;
    };
    tokio::select! {
        _ = term.recv() => {}
        _ = int.recv() => {}
    }
}
