//! How one looks: which part of a list, once or again and again.

use std::time::Duration;

use clap::Args;

use super::ServerArgs;
use super::values::seconds;

/// Whether, and how often, a look is repeated.
#[derive(Clone, Copy, Debug, Default, Args)]
pub struct WatchArgs {
    /// Look again every so often, like 5 or 1m, until it is stopped; in place on a terminal, one after the other elsewhere
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, require_equals = true, default_missing_value = "2", value_parser = seconds)]
    pub watch: Option<Duration>,
}

/// Which part of a list.
#[derive(Clone, Debug, Default, Args)]
pub struct PageArgs {
    /// Rows of a page, at most 500
    #[arg(long)]
    pub limit: Option<u32>,
    /// Go on after the page that gave this
    #[arg(long)]
    pub cursor: Option<String>,
    /// Follow the pages to the end
    #[arg(long)]
    pub all: bool,
    #[command(flatten)]
    pub watch: WatchArgs,
}

impl PageArgs {
    /// The first rows.
    pub fn first(limit: u32) -> Self {
        Self { limit: Some(limit), ..Self::default() }
    }

    /// Everything.
    pub fn whole() -> Self {
        Self { all: true, ..Self::default() }
    }
}

#[derive(Debug, Args)]
pub struct StatusArgs {
    #[command(flatten)]
    pub server: ServerArgs,
    /// Only ask whether it is ready; needs no token
    #[arg(long, conflicts_with = "watch")]
    pub probe: bool,
    #[command(flatten)]
    pub watch: WatchArgs,
}

#[derive(Debug, Args)]
pub struct TopArgs {
    #[command(flatten)]
    pub server: ServerArgs,
    /// How often to look, like 2 or 10s
    #[arg(long, value_name = "SECONDS", default_value = "2", value_parser = seconds)]
    pub every: Duration,
}
