//! One side of a measurement that is not Escrow: a process of its own, told by JSON on its command line what to do.

use serde::{Deserialize, Serialize};
use std::process::{Child, Command, Stdio};

use super::ask::{self, Ask};
use super::{deadlines, load, one_by_one, reference, sqlite};

/// What the process does, and with what.
#[derive(Debug, Serialize, Deserialize)]
pub enum Work {
    /// Drains a queue in batches, writing Escrow's rows without its logic.
    Reference(Drain),
    /// The same into SQLite.
    BareSqlite(Drain),
    /// Drains a queue with a transaction for each event.
    OneByOne(Drain),
    /// Publishes events, so many `steps` of each order.
    Publish { amqp: String, events: u64, steps: u64, first_order: u64, rate: Option<u64> },
    /// Publishes bookings that are due from a moment on, so many microseconds apart.
    Book { amqp: String, bookings: u64, first_due: i64, apart: i64 },
    /// Publishes the messages of a file, one in a line.
    Send { amqp: String, file: String },
    /// Asks over HTTP.
    Ask(Ask),
}

/// A queue to be drained into tables.
#[derive(Debug, Serialize, Deserialize)]
pub struct Drain {
    pub amqp: String,
    pub queue: String,
    pub database: String,
    pub events: u64,
    /// The file of the [sample](super::sample).
    pub sample: String,
}

/// The body of such a process.
pub async fn run(work: &Work) {
    match work {
        Work::Reference(drain) => reference::drain(drain).await,
        Work::BareSqlite(drain) => sqlite::drain(drain).await,
        Work::OneByOne(drain) => one_by_one::drain(drain).await,
        Work::Publish { amqp, events, steps, first_order, rate } => {
            load::publish(amqp, load::messages(*events, *steps, *first_order), *rate).await;
        }
        Work::Book { amqp, bookings, first_due, apart } => {
            load::publish(amqp, deadlines::messages(*bookings, *first_due, *apart), None).await;
        }
        Work::Send { amqp, file } => {
            let text = std::fs::read_to_string(file).unwrap();
            load::publish(amqp, text.lines().map(|line| serde_json::from_str(line).unwrap()), None).await;
        }
        Work::Ask(asking) => ask::ask(asking).await,
    }
}

impl Work {
    /// Starts it.
    pub fn start(&self) -> Child {
        let order = serde_json::to_string(self).unwrap();
        let program = std::env::current_exe().unwrap();
        Command::new(program).args(["work", &order]).stdin(Stdio::null()).spawn().unwrap()
    }

    /// Publishes the load: all four steps of each order.
    pub fn publish(amqp: &str, events: u64, rate: Option<u64>) -> Self {
        Self::Publish { amqp: amqp.to_owned(), events, steps: 4, first_order: 0, rate }
    }

    /// Does it, and waits for its end.
    pub async fn done(self) {
        let ended = tokio::task::spawn_blocking(move || self.start().wait().unwrap()).await.unwrap();
        assert!(ended.success(), "a side of the measurement failed");
    }
}
