//! What is said to act on one order, on some, or on all that filters name.

use clap::Args;

/// An action: on the order named; on each of those named, at a rate; or without one on every order the filters name.
#[derive(Clone, Debug, Args)]
pub struct ActArgs {
    /// The order: its id, alone or as SAGA/ID. Several, up to 1,000, are acted on one after the other. Left out: every order the
    /// filters name
    #[arg(value_name = "[SAGA/]ORDER_ID")]
    pub orders: Vec<String>,
    /// Its saga; the id is then taken as it is. As a filter: sagas, separated by commas
    #[arg(long)]
    pub saga: Option<String>,
    /// The step it is about
    #[arg(long)]
    pub step: Option<String>,
    /// Why; goes into the journal
    #[arg(long, required_unless_present = "dry_run")]
    pub reason: Option<String>,
    /// Makes a repeated call safe; made up when left out
    #[arg(long)]
    pub idempotency_key: Option<String>,
    #[command(flatten)]
    pub many: ManyArgs,
}

/// Which orders, where no single one is named; and how fast.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "On many orders")]
pub struct ManyArgs {
    /// Statuses, separated by commas
    #[arg(long)]
    pub status: Option<String>,
    /// Steps, separated by commas
    #[arg(long)]
    pub waiting_on: Option<String>,
    /// Reasons to be stuck, separated by commas
    #[arg(long)]
    pub reason_filter: Option<String>,
    /// Id of an incident
    #[arg(long)]
    pub incident: Option<String>,
    /// The oldest wait is older than this, like 10m
    #[arg(long)]
    pub older_than: Option<String>,
    /// An attribute has this value; may be given again
    #[arg(long = "attr", value_name = "NAME=VALUE", value_parser = super::attribute)]
    pub attributes: Vec<(String, String)>,
    /// Orders a second, up to 100; 10 when left out
    #[arg(long)]
    pub per_second: Option<f64>,
    /// Only say how many orders there are and show some
    #[arg(long)]
    pub dry_run: bool,
    /// Do not wait until it is done
    #[arg(long)]
    pub no_wait: bool,
}

impl ManyArgs {
    /// The filters by the names of the API.
    pub fn filters(&self) -> Vec<(String, String)> {
        let named = [
            ("status", &self.status),
            ("waiting_on", &self.waiting_on),
            ("reason", &self.reason_filter),
            ("incident", &self.incident),
            ("older_than", &self.older_than),
        ];
        let named = named.iter().filter_map(|(name, value)| Some(((*name).to_owned(), (*value).clone()?)));
        named.chain(self.attributes.iter().map(|(name, value)| (format!("attr.{name}"), value.clone()))).collect()
    }

    /// Whether anything is said that has no meaning for one order.
    pub fn is_given(&self) -> bool {
        !self.filters().is_empty() || self.per_second.is_some() || self.dry_run || self.no_wait
    }
}
