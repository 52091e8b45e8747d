//! `escrow incident`: what holds up orders.

use clap::{Args, Subcommand};

use super::{PageArgs, ServerArgs};

#[derive(Debug, Args)]
pub struct IncidentArgs {
    #[command(flatten)]
    pub server: ServerArgs,
    #[command(subcommand)]
    pub command: IncidentCommand,
}

#[derive(Debug, Subcommand)]
pub enum IncidentCommand {
    /// List what holds up orders
    List {
        /// open, resolved or all; open when left out
        #[arg(long)]
        status: Option<String>,
        #[command(flatten)]
        page: PageArgs,
    },
    /// Show one incident
    Show { id: String },
    /// Say that you know: no more is told of it but its end
    Ack {
        id: String,
        /// Why; kept with the incident
        #[arg(long)]
        reason: String,
    },
}
