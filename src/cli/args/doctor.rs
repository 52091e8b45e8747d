//! What can be typed after `escrow doctor`.

use std::path::PathBuf;

use clap::Args;

use super::{DatabaseArgs, tap_name};
use crate::config::DoctorConfig;

#[derive(Debug, Args)]
pub struct DoctorArgs {
    #[command(flatten)]
    database: DatabaseArgs,
    /// `amqp://…` or `amqps://…`; without it no broker is looked at
    #[arg(long, env = "AMQP_URL", hide_env_values = true)]
    amqp_url: Option<String>,
    /// RabbitMQ's management API, like http://user:password@host:15672: shows bindings and the policies in force
    #[arg(long, env = "ESCROW_MANAGEMENT_URL", hide_env_values = true)]
    management_url: Option<String>,
    /// A definition file, or a folder of them
    #[arg(long, env = "ESCROW_SAGAS", default_value = "sagas/")]
    sagas: PathBuf,
    /// Names the tap
    #[arg(long, env = "ESCROW_NAME", default_value = "default", value_parser = tap_name)]
    name: String,
    /// The API of a running Escrow, to be looked at too
    #[arg(long, env = "ESCROW_SERVER")]
    pub server: Option<String>,
    /// A file that holds the token to show to it
    #[arg(long)]
    pub token_file: Option<PathBuf>,
    /// The token to show, where no file is given
    #[arg(long, env = "ESCROW_TOKEN", hide = true, hide_env_values = true)]
    pub token: Option<String>,
}

impl DoctorArgs {
    pub fn into_config(self) -> DoctorConfig {
        let given = |url: Option<String>| url.filter(|url| !url.is_empty());
        DoctorConfig {
            database_url: self.database.database_url,
            amqp_url: given(self.amqp_url),
            management_url: given(self.management_url),
            sagas: Some(self.sagas),
            name: self.name,
        }
    }
}
