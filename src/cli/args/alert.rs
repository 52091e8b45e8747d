//! What can be typed after `escrow alert`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::tap_name;
use crate::config::AlertsConfig;

#[derive(Debug, Args)]
pub struct AlertArgs {
    /// Whom to tell; left out: `alerts.yaml` in the working folder
    #[arg(long, env = "ESCROW_ALERTS", global = true)]
    alerts: Option<PathBuf>,
    /// The name of the Escrow that tells
    #[arg(long, env = "ESCROW_NAME", default_value = "default", value_parser = tap_name, global = true)]
    name: String,
    #[command(subcommand)]
    pub command: AlertCommand,
}

#[derive(Debug, Subcommand)]
pub enum AlertCommand {
    /// Validate the file, with the environment as it is here; sends nothing
    Check,
    /// Send a marked alert and its end to each channel, and say what came back
    Test {
        /// Only this channel
        #[arg(long)]
        channel: Option<String>,
    },
}

impl AlertArgs {
    pub fn config(&self) -> AlertsConfig {
        let file = self.alerts.clone().filter(|file| !file.as_os_str().is_empty());
        AlertsConfig { file, name: self.name.clone() }
    }
}
