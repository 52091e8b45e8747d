//! One Escrow: the real loops over the simulated seams, each a future of its own. A crash drops them all.

use std::sync::Arc;
use std::time::Duration;

use escrow::bus::{Sink, Tap};
use escrow::saga::time::Moment;
use escrow::store::Store;
use escrow::telemetry::Metrics;
use escrow::worker::commands::Commands;
use escrow::worker::deadlines::Deadlines;
use escrow::worker::definitions::{self, Definitions};
use escrow::worker::doubts::Doubts;
use escrow::worker::ingest::Ingest;
use escrow::worker::looks::{self, Looks};
use escrow::worker::queues::Queues;
use escrow::worker::relay::Relay;
use escrow::worker::watermark::{Pulse, Watermarks};
use escrow::worker::{Escrow, Ran, Worker, backoff};
use tokio_util::sync::CancellationToken;

use crate::pace::{Actor, point, undisturbed};
use crate::sink::SimSink;
use crate::store::SimStore;
use crate::tap::{SimTap, TAP};
use crate::world::Shared;

/// Bodies are always kept.
const BODY_KEEP_BYTES: usize = 1 << 20;

pub struct Replica {
    pub actors: Vec<Actor>,
    pub commands: Commands,
    /// It is not given a move before: a machine that stands still for a while.
    pub paused_until: Moment,
}

impl Replica {
    /// Starts Escrow on the database.
    pub async fn start(world: &Shared, inner: &Arc<dyn Store>, replica: usize) -> Self {
        let (inner, shared) = (Arc::clone(inner), Arc::clone(world));
        let store: Arc<dyn Store> = Arc::new(SimStore { inner, world: shared, replica });
        let catalog = match definitions::load(store.as_ref()).await {
            Ok(catalog) => catalog,
            Err(error) => panic!("the definitions cannot be read back: {error}"),
        };
        let escrow = Arc::new(Escrow::new(Arc::clone(&store), Arc::new(catalog), Arc::new(Metrics::new())));
        let watermarks = Arc::new(Watermarks::new(Some(TAP.to_owned())));
        let tap: Arc<dyn Tap> = Arc::new(SimTap { world: Arc::clone(world) });
        let sink: Arc<dyn Sink> = Arc::new(SimSink { world: Arc::clone(world) });
        looks::hold_unbound(&escrow, TAP).await.expect("the bindings can be read");
        watermarks.load_over_http(&escrow).await.expect("the rows of taps can be read");

        let shared = || Arc::clone(&escrow);
        let ingest = Ingest::new(shared(), Arc::clone(&watermarks), BODY_KEEP_BYTES);
        let mut actors =
            vec![Actor::new("ingest", replica, ingest.follow_tap(Arc::clone(&tap), CancellationToken::new()))];
        let workers: Vec<Box<dyn Worker>> = vec![
            Box::new(Pulse::new(shared(), Some(Arc::clone(&tap)))),
            Box::new(Deadlines::new(shared(), watermarks)),
            Box::new(Relay::new(shared(), Some(Arc::clone(&sink)))),
            Box::new(Queues::new(shared(), sink)),
            Box::new(Looks::new(shared(), tap)),
            Box::new(Doubts::new(shared())),
            Box::new(Definitions::new(shared())),
        ];
        actors.extend(workers.into_iter().map(|worker| Actor::new(worker.name(), replica, run(worker))));
        let commands = Commands::new(shared(), BODY_KEEP_BYTES);
        Self { actors, commands, paused_until: Moment(0) }
    }

    pub async fn start_undisturbed(world: &Shared, inner: &Arc<dyn Store>, replica: usize) -> Self {
        undisturbed(Self::start(world, inner, replica)).await
    }
}

/// Runs a worker for ever, as the program does, but with a point between two runs.
async fn run(mut worker: Box<dyn Worker>) {
    let mut failures = 0;
    loop {
        let pause = match worker.run_once().await {
            Ok(Ran::Did) => Duration::ZERO,
            Ok(Ran::Idle(pause)) => pause,
            Err(_) => {
                failures += 1;
                backoff(failures)
            }
        };
        point("between runs").await;
        tokio::select! {
            biased;
            () = worker.nudged() => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
}
