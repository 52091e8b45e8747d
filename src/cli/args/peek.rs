//! What can be typed after `escrow peek`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use clap::builder::NonEmptyStringValueParser;

use super::{ServerArgs, duration, tap_name};

/// Enough to see every kind of event many times over.
const MESSAGES_MAX: usize = 10_000;

#[derive(Debug, Args)]
pub struct PeekArgs {
    /// `amqp://…` or `amqps://…`
    #[arg(long, env = "AMQP_URL", hide_env_values = true, value_parser = NonEmptyStringValueParser::new())]
    pub amqp_url: String,
    /// The exchange to look at; several, separated by commas, are seen in one sequence
    #[arg(long = "exchange", required = true, value_delimiter = ',', value_parser = NonEmptyStringValueParser::new())]
    pub exchanges: Vec<String>,
    /// Binding keys, separated by commas; left out: `#` and the empty key
    #[arg(long, value_delimiter = ',')]
    pub keys: Option<Vec<String>>,
    /// How long to look, like 30s
    #[arg(long = "for", value_parser = duration, default_value = "30s")]
    pub run_for: Duration,
    /// End with this many messages
    #[arg(long, value_parser = messages, default_value_t = MESSAGES_MAX)]
    pub count: usize,
    /// Write what is seen to this new file, for `escrow try --events`
    #[arg(long, value_name = "FILE")]
    pub record: Option<PathBuf>,
    /// Names the tap of the Escrow that watches the exchange already
    #[arg(long, env = "ESCROW_NAME", default_value = "default", value_parser = tap_name)]
    pub name: String,
    /// Look although nothing is known to stay bound; the broker deletes an auto-delete exchange with its last binding
    #[arg(long)]
    pub force: bool,
    #[command(flatten)]
    pub server: ServerArgs,
}

fn messages(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(number @ 1..=MESSAGES_MAX) => Ok(number),
        _ => Err(format!("a number of messages, 1 to {MESSAGES_MAX}")),
    }
}
