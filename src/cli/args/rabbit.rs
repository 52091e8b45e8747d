//! What can be typed after `escrow rabbit`.

use std::path::PathBuf;

use clap::builder::NonEmptyStringValueParser;
use clap::{Args, Subcommand, ValueEnum};

use super::{DatabaseArgs, tap_name};

#[derive(Debug, Args)]
pub struct RabbitArgs {
    #[command(subcommand)]
    pub command: RabbitCommand,
}

#[derive(Debug, Subcommand)]
pub enum RabbitCommand {
    /// Print the least Escrow needs, for an administrator to review and apply; with `-o json`, as a RabbitMQ definitions file
    Plan(PlanArgs),
    /// The kill switch: take the tap from every watched exchange, and keep it away until `bind`
    Unbind(UnbindArgs),
    /// Take the kill switch back: the tap is bound again, and what was missed is recorded as a gap
    Bind(BindArgs),
}

/// Who binds the tap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum BoundBy {
    /// Escrow, as exchanges appear
    Escrow,
    /// An administrator, who makes everything; Escrow may configure nothing and read nothing but its own queues
    Administrator,
}

#[derive(Debug, Args)]
pub struct PlanArgs {
    /// A definition file, or a folder of them
    #[arg(long, env = "ESCROW_SAGAS", default_value = "sagas/")]
    pub sagas: PathBuf,
    /// Plan for every definition in the database, not for the files
    #[arg(long)]
    pub stored: bool,
    #[command(flatten)]
    pub database: DatabaseArgs,
    /// Names the tap
    #[arg(long, env = "ESCROW_NAME", default_value = "default", value_parser = tap_name)]
    pub name: String,
    /// The user Escrow connects as
    #[arg(long, default_value = "escrow", value_parser = NonEmptyStringValueParser::new())]
    pub user: String,
    /// The virtual host
    #[arg(long, default_value = "/", value_parser = NonEmptyStringValueParser::new())]
    pub vhost: String,
    /// Who binds the tap to the watched exchanges
    #[arg(long, value_enum, default_value = "escrow")]
    pub bound_by: BoundBy,
}

#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "flags, as they are typed")]
pub struct UnbindArgs {
    #[command(flatten)]
    pub database: DatabaseArgs,
    /// `amqp://…` or `amqps://…`
    #[arg(long, env = "AMQP_URL", hide_env_values = true, value_parser = NonEmptyStringValueParser::new())]
    pub amqp_url: String,
    /// Names the tap
    #[arg(long, env = "ESCROW_NAME", default_value = "default", value_parser = tap_name)]
    pub name: String,
    /// Why; kept in the database
    #[arg(long)]
    pub reason: String,
    /// Who does it
    #[arg(long, env = "ESCROW_ACTOR")]
    pub actor: Option<String>,
    /// Do it
    #[arg(long)]
    pub yes: bool,
    /// Say what would be done, and do nothing
    #[arg(long, conflicts_with = "yes")]
    pub dry_run: bool,
    /// Also where an exchange is known to be auto-delete: the broker deletes it with its last binding
    #[arg(long)]
    pub force: bool,
    /// The database is away: unbind what the files of --sagas watch, and set no switch. An Escrow that runs binds again
    #[arg(long)]
    pub broker_only: bool,
    /// With --broker-only: a definition file, or a folder of them
    #[arg(long, env = "ESCROW_SAGAS", default_value = "sagas/")]
    pub sagas: PathBuf,
}

#[derive(Debug, Args)]
pub struct BindArgs {
    #[command(flatten)]
    pub database: DatabaseArgs,
    /// Names the tap
    #[arg(long, env = "ESCROW_NAME", default_value = "default", value_parser = tap_name)]
    pub name: String,
    /// Why; kept in the database
    #[arg(long)]
    pub reason: String,
    /// Who does it
    #[arg(long, env = "ESCROW_ACTOR")]
    pub actor: Option<String>,
}
