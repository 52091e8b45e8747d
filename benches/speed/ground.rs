//! What is measured on: a PostgreSQL that waits for its disk and a RabbitMQ, both private, and the program as it is released.

use std::path::PathBuf;
use std::process::Command;

use sqlx::{ConnectOptions as _, PgConnection};

use super::cpu;
use crate::support::escrow::Escrow;
use crate::support::{postgres, rabbitmq};

/// The servers, and the program.
pub struct Ground {
    pub postgres: postgres::Server,
    pub rabbitmq: &'static rabbitmq::Server,
    pub program: PathBuf,
}

impl Ground {
    /// Builds the program, unless another build of it is given, and starts the servers.
    pub async fn new(program: Option<PathBuf>) -> Self {
        let program = tokio::task::spawn_blocking(|| program.unwrap_or_else(build));
        let rabbitmq = tokio::task::spawn_blocking(rabbitmq::measured);
        let postgres = tokio::task::spawn_blocking(postgres::Server::measured).await.unwrap();
        Self { postgres, rabbitmq: rabbitmq.await.unwrap(), program: program.await.unwrap() }
    }

    /// The versions and sizes of everything.
    pub async fn describe(&self) -> String {
        let mut conn = connect(&self.postgres.url("postgres")).await;
        let postgres: String = sqlx::query_scalar("SHOW server_version").fetch_one(&mut conn).await.unwrap();
        let rabbitmq = self.rabbitmq.ctl(&["version"]).trim().to_owned();
        let cores = std::thread::available_parallelism().map_or(0, usize::from);
        let processor = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let processor = processor.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
        format!(
            "{cores} cores ({}), PostgreSQL {postgres} (fsync, synchronous_commit on), RabbitMQ {rabbitmq} (quorum queues), Escrow {}",
            processor.map_or("unknown", |(_, name)| name),
            env!("CARGO_PKG_VERSION"),
        )
    }

    /// An Escrow on a database and a virtual host of its own.
    pub async fn escrow(&self, definition: &str) -> (Escrow, String, String) {
        let (database, amqp) = (self.postgres.database().await, self.rabbitmq.vhost().url());
        let escrow = Escrow::new(definition, &database, &amqp).program(self.program.clone()).with("RUST_LOG", "warn");
        (escrow, database, amqp)
    }

    /// Seconds of processor time so far: the program's, PostgreSQL's, RabbitMQ's.
    pub fn cpu(&self, program: u32) -> [f64; 3] {
        [program, self.postgres.pid(), self.rabbitmq.pid()].map(cpu::seconds_of)
    }

    /// A database with Escrow's tables and nothing in them.
    pub async fn empty_tables(&self) -> String {
        let database = self.postgres.database().await;
        let made = Command::new(&self.program).args(["migrate", "--database-url", &database]).output().unwrap();
        assert!(made.status.success(), "escrow migrate: {}", String::from_utf8_lossy(&made.stderr));
        database
    }
}

/// The release build, without what only tests may have.
fn build() -> PathBuf {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let status =
        Command::new(cargo).args(["build", "--release", "--bin", "escrow"]).current_dir(&root).status().unwrap();
    assert!(status.success(), "the program does not build");
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    target.join("release/escrow")
}

/// A connection of the harness's own.
pub async fn connect(url: &str) -> PgConnection {
    let options: sqlx::postgres::PgConnectOptions = url.parse().unwrap();
    options.connect().await.unwrap()
}
