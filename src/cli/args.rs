//! What can be typed. Names and defaults are contract.

mod act;
mod alert;
mod doctor;
mod incident;
mod looking;
mod migrate;
mod peek;
mod rabbit;
mod serving;
mod values;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

pub use self::act::ActArgs;
pub use self::alert::{AlertArgs, AlertCommand};
pub use self::doctor::DoctorArgs;
pub use self::incident::{IncidentArgs, IncidentCommand};
pub use self::looking::{PageArgs, StatusArgs, TopArgs, WatchArgs};
pub use self::migrate::MigrateOrders;
pub use self::peek::PeekArgs;
pub use self::rabbit::{BoundBy, PlanArgs, RabbitArgs, RabbitCommand, UnbindArgs};
pub use self::serving::{NewToken, ServingArgs, TokenArgs, TokenCommand};
use self::values::{address, attribute, bytes, duration, rate, tap_name};
use crate::config::{AlertsConfig, DemoConfig, MigrateConfig, ServeConfig};

/// Follows every order of a choreography, fires its deadlines, and sees compensations through.
#[derive(Debug, Parser)]
#[command(name = "escrow", version, arg_required_else_help = true)]
pub struct Cli {
    /// How answers are written
    #[arg(short, long, global = true, value_enum, default_value_t = Format::Table)]
    pub output: Format,
    #[command(subcommand)]
    pub command: Command,
}

impl Cli {
    /// What is logged where `RUST_LOG` says nothing: beside what a command shows of itself, only what goes wrong.
    pub fn log_level(&self) -> &'static str {
        match self.command {
            Command::Serve(_) | Command::Migrate(_) => "info",
            // A line would tear the picture, and the demo's own definition needs no warnings.
            Command::Demo(ref args) if !args.services_only => "error",
            _ => "warn",
        }
    }
}

/// How answers are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people
    Table,
    /// One JSON value
    Json,
    /// One JSON value a line; lists to their end unless a part is asked for
    Jsonl,
    /// Comma-separated values under a header; lists to their end unless a part is asked for
    Csv,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run everything embedded, with simulated services and faults
    Demo(DemoArgs),
    /// Run the service
    Serve(ServeArgs),
    /// Bring the database up to date and end
    Migrate(MigrateArgs),
    /// Validate definitions
    Check(CheckArgs),
    /// Print the JSON Schema of a definition
    Schema,
    /// Look at what is on the bus, for writing the first definition
    Peek(PeekArgs),
    /// Run recorded events through a definition in virtual time
    Try(TryArgs),
    /// Ask about orders and act on them
    Order(OrderArgs),
    /// Ask about sagas and change their mode
    Saga(SagaArgs),
    /// Show what holds up orders
    Incident(IncidentArgs),
    /// Look at messages that could not be read or placed
    Quarantine(QuarantineArgs),
    /// Check the audit trail
    Audit {
        #[command(subcommand)]
        command: AuditCommand,
    },
    /// Check whom incidents are told to, or try it
    Alert(AlertArgs),
    /// Show how Escrow is, on one screen
    Status(StatusArgs),
    /// Follow incidents, orders, and what is due on a live board; off a terminal, show it once
    Top(TopArgs),
    /// Make tokens for the API
    Token(TokenArgs),
    /// Print what completes commands and flags in a shell
    Completions { shell: clap_complete::Shell },
    /// Say what Escrow needs on RabbitMQ, or take it away from there
    Rabbit(RabbitArgs),
    /// Check broker, database, definitions and server as they are now, and say what to do; changes nothing
    Doctor(DoctorArgs),
}

#[derive(Debug, Args)]
pub struct DatabaseArgs {
    /// `postgres://…` or `sqlite://…`
    #[arg(long, env = "DATABASE_URL", hide_env_values = true, default_value = "sqlite://escrow.db")]
    pub database_url: String,
}

#[derive(Debug, Args)]
pub struct ServeArgs {
    #[command(flatten)]
    database: DatabaseArgs,
    /// `amqp://…` or `amqps://…`; without it events come over HTTP only
    #[arg(long, env = "AMQP_URL", hide_env_values = true)]
    amqp_url: Option<String>,
    /// A definition file, or a folder of them
    #[arg(long, env = "ESCROW_SAGAS", default_value = "sagas/")]
    sagas: PathBuf,
    /// Where to serve the API
    #[arg(long, env = "ESCROW_LISTEN", default_value = "127.0.0.1:8080", value_parser = address)]
    listen: SocketAddr,
    /// Names the tap: replicas share it, two Escrows on one vhost do not
    #[arg(long, env = "ESCROW_NAME", default_value = "default", value_parser = tap_name)]
    name: String,
    /// Keep message bodies up to this size, like 1MiB
    #[arg(long, env = "ESCROW_MAX_BODY", default_value = "1MiB", value_parser = bytes)]
    max_body: usize,
    /// Send traces to this OTLP/HTTP receiver, like http://127.0.0.1:4318
    #[arg(long, env = "OTEL_EXPORTER_OTLP_ENDPOINT")]
    otlp_endpoint: Option<String>,
    /// RabbitMQ's management API, like http://user:password@host:15672: lets `GET /v1/doctor` see bindings and policies
    #[arg(long, env = "ESCROW_MANAGEMENT_URL", hide_env_values = true)]
    management_url: Option<String>,
    /// Whom to tell of incidents; left out: `alerts.yaml` in the working folder, if it is there
    #[arg(long, env = "ESCROW_ALERTS")]
    alerts: Option<PathBuf>,
    #[command(flatten)]
    serving: ServingArgs,
}

impl ServeArgs {
    pub fn into_config(self) -> ServeConfig {
        ServeConfig {
            database_url: self.database.database_url,
            amqp_url: self.amqp_url.filter(|url| !url.is_empty()),
            sagas: self.sagas,
            listen: self.listen,
            http: self.serving.into_config(),
            alerts: AlertsConfig {
                file: self.alerts.filter(|file| !file.as_os_str().is_empty()),
                name: self.name.clone(),
            },
            name: self.name,
            body_bytes_max: self.max_body,
            otlp_endpoint: self.otlp_endpoint.filter(|url| !url.is_empty()),
            management_url: self.management_url.filter(|url| !url.is_empty()),
        }
    }
}

#[derive(Debug, Args)]
pub struct TryArgs {
    /// The definition
    pub file: PathBuf,
    /// Recorded events: a JSON object in each line with `body`, and `at`, `exchange`, `routing_key`, `headers`, `properties`
    #[arg(long)]
    pub events: PathBuf,
    /// How long to go on after the last event, like 1h
    #[arg(long = "for", value_parser = duration, default_value = "30d")]
    pub run_for: Duration,
    /// Exit 1 if any order is stuck or any event could not be read
    #[arg(long)]
    pub fail_on_stuck: bool,
}

#[derive(Debug, Args)]
pub struct DemoArgs {
    /// End after this time, like 30s
    #[arg(long = "for", value_parser = duration)]
    run_for: Option<Duration>,
    /// Where to serve the API; left out: 127.0.0.1:8080, or a free port if that one is taken
    #[arg(long, env = "ESCROW_LISTEN", value_parser = address)]
    listen: Option<SocketAddr>,
    /// Orders placed a second
    #[arg(long, default_value_t = 3.0, value_parser = rate)]
    rate: f64,
    /// The same seed gives the same orders and faults
    #[arg(long, default_value_t = 4711)]
    seed: u64,
    /// Run the services over this broker instead of in-process
    #[arg(long, env = "AMQP_URL", hide_env_values = true)]
    amqp_url: Option<String>,
    /// Send traces to this OTLP/HTTP receiver, like http://127.0.0.1:4318
    #[arg(long, env = "OTEL_EXPORTER_OTLP_ENDPOINT")]
    otlp_endpoint: Option<String>,
    /// Run the services alone, beside an Escrow of its own process
    #[arg(long, requires = "amqp_url")]
    services_only: bool,
    #[command(flatten)]
    serving: ServingArgs,
}

impl DemoArgs {
    pub fn into_config(self) -> DemoConfig {
        DemoConfig {
            run_for: self.run_for,
            listen: self.listen,
            http: self.serving.into_config(),
            rate: self.rate,
            seed: self.seed,
            amqp_url: self.amqp_url.filter(|url| !url.is_empty()),
            otlp_endpoint: self.otlp_endpoint.filter(|url| !url.is_empty()),
            services_only: self.services_only,
        }
    }
}

#[derive(Debug, Args)]
pub struct MigrateArgs {
    #[command(flatten)]
    database: DatabaseArgs,
}

impl MigrateArgs {
    pub fn into_config(self) -> MigrateConfig {
        MigrateConfig { database_url: self.database.database_url }
    }
}

#[derive(Debug, Args)]
pub struct CheckArgs {
    /// Definition files
    #[arg(required = true)]
    pub files: Vec<PathBuf>,
}

/// Which Escrow is asked.
#[derive(Clone, Debug, Args)]
pub struct ServerArgs {
    /// The API of a running Escrow
    #[arg(long, env = "ESCROW_SERVER", default_value = "http://127.0.0.1:8080", global = true)]
    pub server: String,
    /// A file that holds the token to show
    #[arg(long, global = true)]
    pub token_file: Option<PathBuf>,
    /// The token to show, where no file is given
    #[arg(long, env = "ESCROW_TOKEN", hide = true, hide_env_values = true, global = true)]
    pub token: Option<String>,
    /// Who acts, for the journal
    #[arg(long, env = "ESCROW_ACTOR", global = true)]
    pub actor: Option<String>,
}

#[derive(Debug, Args)]
pub struct OrderArgs {
    #[command(flatten)]
    pub server: ServerArgs,
    #[command(subcommand)]
    pub command: OrderCommand,
}

/// `[SAGA/]ORDER_ID`
#[derive(Clone, Debug, Args)]
pub struct OrderRef {
    /// The order: its id, alone or as SAGA/ID
    #[arg(value_name = "[SAGA/]ORDER_ID")]
    pub order: String,
    /// Its saga; the id is then taken as it is
    #[arg(long)]
    pub saga: Option<String>,
}

#[derive(Debug, Subcommand)]
pub enum OrderCommand {
    /// Show one order
    Get {
        #[command(flatten)]
        order: OrderRef,
        #[command(flatten)]
        watch: WatchArgs,
    },
    /// Find orders
    List(ListOrders),
    /// Say on one screen what an order waits for and why, what happens then, and what can be done
    Why {
        #[command(flatten)]
        order: OrderRef,
        #[command(flatten)]
        watch: WatchArgs,
    },
    /// Show the audit trail of an order
    Audit {
        #[command(flatten)]
        order: OrderRef,
        #[command(flatten)]
        page: PageArgs,
    },
    /// Send a stuck step's message again, or ask again for a stuck compensation
    Retry(ActArgs),
    /// Go on without a step, or take its compensation as done
    Skip(ActArgs),
    /// Wait longer
    Extend {
        #[command(flatten)]
        act: ActArgs,
        /// How much longer, like 30m
        #[arg(long)]
        by: String,
    },
    /// Turn the order back
    Compensate(ActArgs),
    /// Decide anew about a held or unproven order, and vouch for it
    Release(ActArgs),
    /// Leave a held or unproven order as it is
    Drop(ActArgs),
    /// End the order as it is; nothing is sent
    Close(ActArgs),
    /// Write into the trail
    Note(ActArgs),
    /// Show how far an action on many orders is, or stop it; without an id, list those there were
    Bulk {
        #[arg(conflicts_with_all = ["limit", "cursor", "all", "watch"])]
        id: Option<String>,
        /// Stop it after the order in hand
        #[arg(long, requires = "reason", requires = "id")]
        stop: bool,
        /// Why it is stopped
        #[arg(long, requires = "stop")]
        reason: Option<String>,
        #[command(flatten)]
        page: PageArgs,
    },
}

#[derive(Debug, Args)]
pub struct ListOrders {
    /// Sagas, separated by commas
    #[arg(long)]
    pub saga: Option<String>,
    /// Statuses, separated by commas
    #[arg(long)]
    pub status: Option<String>,
    /// Steps, separated by commas
    #[arg(long)]
    pub waiting_on: Option<String>,
    /// Reasons to be stuck, separated by commas
    #[arg(long)]
    pub reason: Option<String>,
    /// Id of an incident
    #[arg(long)]
    pub incident: Option<String>,
    /// The oldest wait is older than this, like 10m
    #[arg(long)]
    pub older_than: Option<String>,
    /// Exactly this order id, in any saga
    #[arg(long)]
    pub order_id: Option<String>,
    /// An attribute has this value; may be given again
    #[arg(long = "attr", value_name = "NAME=VALUE", value_parser = attribute)]
    pub attributes: Vec<(String, String)>,
    #[command(flatten)]
    pub page: PageArgs,
}

#[derive(Debug, Args)]
pub struct SagaArgs {
    #[command(flatten)]
    pub server: ServerArgs,
    #[command(subcommand)]
    pub command: SagaCommand,
}

#[derive(Debug, Subcommand)]
pub enum SagaCommand {
    /// List what is followed
    List(PageArgs),
    /// Show one saga with its definition
    Show {
        saga: String,
        #[command(flatten)]
        watch: WatchArgs,
    },
    /// Show which events a saga names and which it met, and what is missing on either side
    Events {
        saga: String,
        #[command(flatten)]
        watch: WatchArgs,
    },
    /// Change whether Escrow acts or only observes
    Mode {
        saga: String,
        #[arg(value_parser = ["act", "observe"])]
        mode: String,
        /// Why; goes into the journal
        #[arg(long)]
        reason: String,
    },
    /// Choose the stored version that opens new orders
    Version {
        saga: String,
        version: u32,
        /// Why; goes into the journal
        #[arg(long)]
        reason: String,
    },
    /// Move open orders to another version
    Migrate(MigrateOrders),
    /// Show the brake, or take it off
    Brake {
        saga: String,
        /// Take it off: it counts from nothing again. Held orders stay held until they are released or dropped
        #[arg(long, requires = "reason")]
        reset: bool,
        /// Why; goes into the journal
        #[arg(long, requires = "reset")]
        reason: Option<String>,
    },
}

#[derive(Debug, Args)]
pub struct QuarantineArgs {
    #[command(flatten)]
    pub server: ServerArgs,
    #[command(subcommand)]
    pub command: QuarantineCommand,
}

#[derive(Debug, Subcommand)]
pub enum QuarantineCommand {
    /// List messages
    List {
        #[arg(long)]
        saga: Option<String>,
        #[arg(long)]
        reason: Option<String>,
        #[arg(long)]
        exchange: Option<String>,
        /// Also those replayed or dropped
        #[arg(long)]
        resolved: bool,
        #[command(flatten)]
        page: PageArgs,
    },
    /// Apply a message anew
    Replay {
        id: i64,
        /// The order it belongs to, where it does not say
        #[arg(long)]
        order_id: Option<String>,
        /// Why; goes into the journal
        #[arg(long)]
        reason: String,
    },
    /// Give a message up
    Drop {
        id: i64,
        /// Why; goes into the journal
        #[arg(long)]
        reason: String,
    },
}

#[derive(Debug, Subcommand)]
pub enum AuditCommand {
    /// Read every trail from the database, fold it, and hold it against what is stored
    Verify(VerifyArgs),
}

#[derive(Debug, Args)]
pub struct VerifyArgs {
    #[command(flatten)]
    pub database: DatabaseArgs,
    /// Only this saga
    #[arg(long)]
    pub saga: Option<String>,
}
