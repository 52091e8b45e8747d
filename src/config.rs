//! What Escrow is started with, as plain values. Where they come from (flags, environment) is the command line's business.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// `escrow serve`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServeConfig {
    /// `postgres://…` or `sqlite://…`; may hold a password.
    pub database_url: String,
    /// `None`: events come over HTTP only.
    pub amqp_url: Option<String>,
    /// A definition file, or a folder of them.
    pub sagas: PathBuf,
    pub listen: SocketAddr,
    /// Names the tap; replicas share it.
    pub name: String,
    /// Larger bodies are read and applied, and only their hash is kept.
    pub body_bytes_max: usize,
    /// Where traces are sent, OTLP over HTTP; `None`: nowhere.
    pub otlp_endpoint: Option<String>,
    /// RabbitMQ's management API, for the doctor; may hold a user and a password.
    pub management_url: Option<String>,
    pub alerts: AlertsConfig,
    pub http: HttpConfig,
}

/// Where and for whom the API is served.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HttpConfig {
    /// The access file. `None`: everybody who reaches the address, which then has to be loopback.
    pub access: Option<PathBuf>,
    /// Names the server answers to beside those of the machine itself.
    pub hosts: Vec<String>,
    /// A chain of certificates and its key.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// Another address for `/metrics`.
    pub metrics_listen: Option<SocketAddr>,
}

/// Where people are told of incidents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlertsConfig {
    /// `None`: `alerts.yaml` where the program runs, if there is one.
    pub file: Option<PathBuf>,
    /// The name of this Escrow, as alerts say it.
    pub name: String,
}

/// `escrow demo`.
#[derive(Clone, Debug, PartialEq)]
pub struct DemoConfig {
    /// `None`: until it is stopped.
    pub run_for: Option<Duration>,
    /// Where the API listens. `None`: the usual port, or any free one if that is taken.
    pub listen: Option<SocketAddr>,
    pub http: HttpConfig,
    /// Orders placed a second; more than 0.
    pub rate: f64,
    /// The same seed places the same orders, and the same things go wrong with them.
    pub seed: u64,
    /// `None`: a bus in memory.
    pub amqp_url: Option<String>,
    /// Where traces are sent, OTLP over HTTP; `None`: nowhere.
    pub otlp_endpoint: Option<String>,
    /// Without an Escrow of its own; needs a broker.
    pub services_only: bool,
}

/// `escrow migrate`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MigrateConfig {
    pub database_url: String,
}

/// Where definitions are taken from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Definitions {
    /// A definition file, or a folder of them.
    Files(PathBuf),
    /// Every version in the database.
    Stored { database_url: String },
}

/// `escrow rabbit plan`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanConfig {
    pub definitions: Definitions,
    pub name: String,
    /// As whom Escrow connects.
    pub user: String,
    pub vhost: String,
    /// An administrator makes everything, and Escrow binds nothing.
    pub bound_by_administrator: bool,
}

/// `escrow rabbit unbind`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnbindConfig {
    /// Which exchanges there are. From files: the switch is not set, and an Escrow that runs binds again.
    pub definitions: Definitions,
    pub amqp_url: String,
    pub name: String,
    pub actor: String,
    pub reason: String,
    /// Say what would be done, and do nothing.
    pub dry_run: bool,
    /// Also where an exchange is known to be deleted with its last binding.
    pub force: bool,
}

/// `escrow rabbit bind`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BindConfig {
    pub database_url: String,
    pub name: String,
    pub actor: String,
    pub reason: String,
}

/// `escrow doctor`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DoctorConfig {
    pub database_url: String,
    /// `None`: events come over HTTP only.
    pub amqp_url: Option<String>,
    /// RabbitMQ's management API; may hold a user and a password.
    pub management_url: Option<String>,
    /// `None`: what is stored is all there is.
    pub sagas: Option<PathBuf>,
    pub name: String,
}

/// `escrow peek`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeekConfig {
    pub amqp_url: String,
    pub exchanges: Vec<String>,
    /// On each of them; `None`: those that see most on every type of exchange.
    pub keys: Option<Vec<String>>,
    /// The Escrow whose tap has to be on this broker; `None`: whatever the end of the look does to the exchanges is accepted.
    pub beside: Option<String>,
    pub run_for: Duration,
    /// The look ends with this many messages.
    pub messages_max: usize,
}
