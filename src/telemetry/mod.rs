//! What Escrow says about itself: log lines, metrics and traces. The one place where names of metrics and spans are.
//!
//! Logs are for people on a terminal and JSON elsewhere (or with `ESCROW_LOG=json`); `RUST_LOG` chooses what is said. No metric
//! carries an order id: labels are sagas, steps and fixed words, so their number is bounded.

pub mod labels;
pub mod metrics;
#[cfg(test)]
mod tests;
pub mod traces;

use std::io::IsTerminal as _;

pub use labels::{
    CauseLabel, ChannelLabel, ClassLabel, EmissionLabels, EventLabels, HttpLabels, ReasonLabel, ResultLabel, RoleLabel,
    SagaLabel,
};
pub use metrics::Metrics;
pub use traces::Traces;

/// What of the libraries is logged when `RUST_LOG` says nothing. The AMQP client logs errors its supervisor already tells, the
/// scheduler what only its authors need.
const LIBRARIES: &str = "lapin=off,tokio_cron_scheduler=warn,sqlx::postgres::notice=warn";

/// Starts logging at `level` where `RUST_LOG` says nothing. Later calls change nothing.
pub fn start_logging(level: &str) {
    use tracing_subscriber::EnvFilter;
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(format!("{level},{LIBRARIES}")));
    let format = std::env::var("ESCROW_LOG").unwrap_or_default();
    let is_json = format == "json" || (format != "human" && !std::io::stderr().is_terminal());
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // A second subscriber is refused: the first one stays, which is what is promised.
    let _ = if is_json {
        lines.json().flatten_event(true).with_current_span(true).with_span_list(false).try_init()
    } else {
        let has_colour = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|it| it.is_empty());
        lines.with_ansi(has_colour).with_target(false).try_init()
    };
}
