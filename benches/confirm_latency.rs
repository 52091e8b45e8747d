//! What the tap costs the services' publisher confirms: the same publishes, side by side in one run, with Escrow bound and without.
//!
//! ```text
//!   cargo bench --bench confirm_latency [-- ROUNDS]
//!
//!   one broker, three virtual hosts, a service's quorum queue on each:
//!     without   exchange ──▶ queue                       with      exchange ──▶ queue, and a serving Escrow's tap
//!     dead      exchange ──▶ queue, and the tap of an Escrow that is gone
//! ```
//!
//! Rounds go in turns, so that whatever else the machine does hits all alike. Each publish is persistent and waits for its confirm
//! alone. It starts its own RabbitMQ, and needs nothing else than the Debian package `rabbitmq-server`. It judges nothing.
#![expect(clippy::unwrap_used, reason = "a measurement that cannot go on should say where")]
#![allow(dead_code, reason = "the tests' own servers bring more than is measured here")]

#[path = "../tests/support/mod.rs"]
mod support;

use std::time::{Duration, Instant};

use lapin::options::{BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Confirmation, ExchangeKind};

use support::escrow::Escrow;
use support::rabbitmq::shared;
use support::services::Service;

const ROUNDS: usize = 40;
const PUBLISHES: usize = 50;
const BODY: &str =
    r#"{"event_type":"OrderPlaced","data":{"order_id":"4711","customer":"Ada Lovelace","amount":"99.90"}}"#;
const DEFINITION: &str = "saga: order\nversion: 1\nread: { event: /event_type, order_id: /data/order_id }\n\
    watch: [{ exchange: orders }]\nsteps: { placed: { done: OrderPlaced } }\n";

/// One side: a service with a queue of its own, as it publishes.
struct Side {
    name: &'static str,
    service: Service,
    took: Vec<Duration>,
}

impl Side {
    async fn new(name: &'static str, url: &str) -> Self {
        let service = Service::connect(url).await;
        service.exchange("orders", ExchangeKind::Fanout).await;
        let mut arguments = FieldTable::default();
        arguments.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
        let queue = service.channel.queue_declare("inventory".into(), QueueDeclareOptions::durable(), arguments);
        queue.await.unwrap();
        service.bind("inventory", "orders", "").await;
        service.channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
        Self { name, service, took: Vec::new() }
    }

    async fn round(&mut self, keep: bool) {
        for _ in 0..PUBLISHES {
            let properties = BasicProperties::default()
                .with_delivery_mode(2)
                .with_message_id(uuid::Uuid::new_v4().to_string().into());
            let (options, began) = (BasicPublishOptions::default(), Instant::now());
            let sent =
                self.service.channel.basic_publish("orders".into(), "".into(), options, BODY.as_bytes(), properties);
            let word = sent.await.unwrap().await.unwrap();
            assert!(matches!(word, Confirmation::Ack(None)), "{}: {word:?}", self.name);
            if keep {
                self.took.push(began.elapsed());
            }
        }
    }

    fn percentile(&mut self, percent: usize) -> Duration {
        self.took.sort();
        self.took[(self.took.len() - 1) * percent / 100]
    }
}

fn main() {
    let rounds = std::env::args().find_map(|it| it.parse().ok()).unwrap_or(ROUNDS);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(measure(rounds));
}

async fn measure(rounds: usize) {
    let server = tokio::task::spawn_blocking(shared).await.unwrap();
    let urls = [(); 3].map(|()| server.vhost().url());
    let mut sides = Vec::new();
    for (name, url) in ["without", "with", "dead"].into_iter().zip(&urls) {
        sides.push(Side::new(name, url).await);
    }
    let folder = tempfile::tempdir().unwrap();
    let database = |name: &str| format!("sqlite://{}", folder.path().join(name).display());
    let escrow = Escrow::new(DEFINITION, &database("with.db"), &urls[1]);
    let dead = Escrow::new(DEFINITION, &database("dead.db"), &urls[2]);
    for one in [&escrow, &dead] {
        one.run().await;
        one.bound().await;
    }
    dead.kill_9();
    for side in &mut sides {
        side.round(false).await;
    }
    for _ in 0..rounds {
        for side in &mut sides {
            side.round(true).await;
        }
    }
    println!(
        "publish confirm of one persistent message to a quorum queue, RabbitMQ on this machine, {} each",
        rounds * PUBLISHES
    );
    println!("{:<9}{:>12}{:>12}{:>12}", "", "p50", "p95", "p99");
    let baseline = [50, 95, 99].map(|percent| sides[0].percentile(percent));
    for side in &mut sides {
        let took = [50, 95, 99].map(|percent| side.percentile(percent));
        let shown = took.map(|it| format!("{:.3} ms", it.as_secs_f64() * 1e3));
        println!("{:<9}{:>12}{:>12}{:>12}", side.name, shown[0], shown[1], shown[2]);
        if side.name != "without" {
            let ratio = [0, 1, 2].map(|n| format!("×{:.2}", took[n].as_secs_f64() / baseline[n].as_secs_f64()));
            println!("{:<9}{:>12}{:>12}{:>12}", "", ratio[0], ratio[1], ratio[2]);
        }
    }
}
