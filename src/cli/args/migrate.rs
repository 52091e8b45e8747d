//! `escrow saga migrate`: which orders, from which version to which.

use clap::Args;

use super::attribute;

#[derive(Clone, Debug, Args)]
pub struct MigrateOrders {
    pub saga: String,
    /// The version the orders are on; those on others are left alone
    #[arg(long)]
    pub from: u32,
    /// The version that opens new orders
    #[arg(long)]
    pub to: u32,
    /// Only this order
    #[arg(long)]
    pub order: Option<String>,
    /// Only these statuses, separated by commas
    #[arg(long)]
    pub status: Option<String>,
    /// Only orders that wait for these steps, separated by commas
    #[arg(long)]
    pub waiting_on: Option<String>,
    /// Only orders stuck for these reasons, separated by commas
    #[arg(long)]
    pub stuck: Option<String>,
    /// Only orders of this incident
    #[arg(long)]
    pub incident: Option<String>,
    /// Only orders whose oldest wait is older than this, like 10m
    #[arg(long)]
    pub older_than: Option<String>,
    /// Only orders with this value of an attribute; may be given again
    #[arg(long = "attr", value_name = "NAME=VALUE", value_parser = attribute)]
    pub attributes: Vec<(String, String)>,
    /// Let waiting steps wait anew, as long as the new version says; else armed deadlines stay
    #[arg(long)]
    pub rearm: bool,
    /// Say what would change and which deadlines would fire, and change nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Why; goes into the journal of each order
    #[arg(long)]
    pub reason: String,
}
