//! What Escrow says about itself: log lines and metrics. The one place where metric names are.
//!
//! Logs are for people on a terminal and JSON elsewhere (or with `ESCROW_LOG=json`); `RUST_LOG` chooses what is said. No metric
//! carries an order id: labels are sagas, steps and fixed words, so their number is bounded.

use std::io::IsTerminal as _;
use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

use crate::saga::batch::Tally;
use crate::saga::order::Status;
use crate::saga::time::Moment;
use crate::store::{Backlog, StatusCount};

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

/// A gauge of seconds since 1970, or of fractions.
pub type FloatGauge = Gauge<f64, AtomicU64>;

/// A fixed word.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct ResultLabel {
    pub result: &'static str,
}

/// A saga.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct SagaLabel {
    pub saga: String,
}

/// A saga and the status of its orders.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct OrdersLabels {
    pub saga: String,
    pub status: &'static str,
}

/// Which of the two connections to the broker: `consume` or `publish`.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct RoleLabel {
    pub role: &'static str,
}

/// Why something happened, from a fixed list.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct ReasonLabel {
    pub reason: &'static str,
}

/// A kind of channel: `alertmanager`, `slack`, `pagerduty`, `webhook`, `email`.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct ChannelLabel {
    pub channel_kind: &'static str,
}

/// One kind of HTTP call.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct HttpLabels {
    pub route: String,
    pub method: String,
    pub code: u32,
}

type Histograms<L> = Family<L, Histogram, fn() -> Histogram>;

/// Every metric of one Escrow. Clones of a metric are the same metric.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// (delivery, saga) pairs by outcome: `applied`, `duplicate`, `ignored`, `late`, `quarantined`.
    pub events: Family<ResultLabel, Counter>,
    /// Up to when everything published is applied, by saga; seconds since 1970.
    pub watermark: Family<SagaLabel, FloatGauge>,
    /// Whether the brake holds orders, by saga.
    pub brake_latched: Family<SagaLabel, Gauge>,
    /// Messages waiting in the tap at the last look.
    pub tap_depth: Gauge,
    /// Orders by status.
    pub orders: Family<OrdersLabels, Gauge>,
    pub deadlines_fired: Counter,
    /// From a deadline to the commit that decided it; seconds.
    pub deadline_fire_delay: Histogram,
    pub outbox_pending: Gauge,
    /// When the oldest row of the outbox was written; seconds since 1970, 0 when there is none.
    pub outbox_oldest: FloatGauge,
    /// Publications by the broker's word: `confirmed`, `unroutable`, `refused`, `withheld`, `unknown`.
    pub emissions: Family<ResultLabel, Counter>,
    /// From publishing to the broker's last word, for each batch of messages; seconds.
    pub emission_confirm: Histogram,
    /// 1 while the connection stands.
    pub amqp_connected: Family<RoleLabel, Gauge>,
    /// Consumers of the tap begun again, by reason.
    pub consumer_restarts: Family<ReasonLabel, Counter>,
    /// Stretches of time in which messages may have been missed.
    pub coverage_gaps: Counter,
    /// Batches that had to be tried again.
    pub db_retries: Counter,
    /// Notices that a channel took.
    pub alerts_sent: Family<ChannelLabel, Counter>,
    /// Tries to tell a channel that came to nothing, whether they are repeated or not.
    pub alerts_failed: Family<ChannelLabel, Counter>,
    /// HTTP calls by route; seconds.
    pub http_duration: Histograms<HttpLabels>,
}

/// From a millisecond to half a minute.
fn seconds() -> Histogram {
    Histogram::new(exponential_buckets(0.001, 2.0, 16))
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// All metrics, registered, at zero.
    pub fn new() -> Self {
        let mut metrics = Self {
            registry: Registry::default(),
            events: Family::default(),
            watermark: Family::default(),
            brake_latched: Family::default(),
            tap_depth: Gauge::default(),
            orders: Family::default(),
            deadlines_fired: Counter::default(),
            deadline_fire_delay: seconds(),
            outbox_pending: Gauge::default(),
            outbox_oldest: FloatGauge::default(),
            emissions: Family::default(),
            emission_confirm: seconds(),
            amqp_connected: Family::default(),
            consumer_restarts: Family::default(),
            coverage_gaps: Counter::default(),
            db_retries: Counter::default(),
            alerts_sent: Family::default(),
            alerts_failed: Family::default(),
            http_duration: Family::new_with_constructor(seconds),
        };
        for result in ["applied", "duplicate", "ignored", "late", "quarantined"] {
            metrics.events.get_or_create(&ResultLabel { result }).inc_by(0);
        }
        for result in ["confirmed", "unroutable", "refused", "withheld", "unknown"] {
            metrics.emissions.get_or_create(&ResultLabel { result }).inc_by(0);
        }
        metrics.register();
        metrics
    }

    fn register(&mut self) {
        let to = &mut self.registry;
        let build = Info::new(vec![("version", env!("CARGO_PKG_VERSION"))]);
        to.register("escrow_build", "The program that runs", build);
        to.register("escrow_events", "Deliveries by outcome, once for each saga they concern", self.events.clone());
        to.register(
            "escrow_ingest_watermark_timestamp_seconds",
            "Everything published before this is applied",
            self.watermark.clone(),
        );
        to.register("escrow_alert_notifications_sent", "Alerts that a channel took", self.alerts_sent.clone());
        to.register(
            "escrow_alert_notifications_failed",
            "Tries to tell a channel of an alert that came to nothing",
            self.alerts_failed.clone(),
        );
        to.register("escrow_brake_latched", "Whether the brake holds orders", self.brake_latched.clone());
        to.register("escrow_tap_depth", "Messages waiting in the tap", self.tap_depth.clone());
        to.register("escrow_orders", "Orders by status", self.orders.clone());
        to.register("escrow_deadlines_fired", "Deadlines decided", self.deadlines_fired.clone());
        to.register(
            "escrow_deadline_fire_delay_seconds",
            "From a deadline to the decision about it",
            self.deadline_fire_delay.clone(),
        );
        to.register("escrow_outbox_pending", "Messages waiting to be published", self.outbox_pending.clone());
        to.register(
            "escrow_outbox_oldest_timestamp_seconds",
            "When the oldest waiting message was written",
            self.outbox_oldest.clone(),
        );
        to.register("escrow_emissions", "Publications by the broker's word", self.emissions.clone());
        to.register(
            "escrow_emission_confirm_seconds",
            "From publishing to the broker's word",
            self.emission_confirm.clone(),
        );
        to.register("escrow_amqp_connected", "1 while a connection stands", self.amqp_connected.clone());
        to.register("escrow_consumer_restarts", "Consumers begun again", self.consumer_restarts.clone());
        to.register("escrow_coverage_gaps", "Times when messages may have been missed", self.coverage_gaps.clone());
        to.register("escrow_db_retries", "Batches tried again", self.db_retries.clone());
        to.register("http_server_request_duration_seconds", "HTTP calls", self.http_duration.clone());
    }

    /// Adds the outcomes of a committed batch.
    pub fn count(&self, tally: &Tally) {
        for (result, count) in [
            ("applied", tally.applied),
            ("duplicate", tally.duplicate),
            ("ignored", tally.ignored),
            ("late", tally.late),
            ("quarantined", tally.quarantined),
        ] {
            self.events.get_or_create(&ResultLabel { result }).inc_by(count);
        }
        self.deadlines_fired.inc_by(tally.deadlines_fired);
    }

    /// Sets the gauges of what is stored.
    pub fn set_stored(&self, counts: &[StatusCount], backlog: Backlog) {
        let whole = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        let sagas: std::collections::BTreeSet<&str> = counts.iter().map(|it| it.saga.as_str()).collect();
        for saga in sagas {
            for status in Status::ALL {
                let row = counts.iter().find(|it| it.saga == saga && it.status == status);
                let labels = OrdersLabels { saga: saga.to_owned(), status: status.word() };
                self.orders.get_or_create(&labels).set(row.map_or(0, |row| whole(row.count)));
            }
        }
        self.outbox_pending.set(whole(backlog.rows));
        self.outbox_oldest.set(backlog.oldest_at.map_or(0.0, |at| at.since(Moment(0)).as_secs_f64()));
    }

    /// Sets how far a saga is read.
    pub fn set_watermark(&self, saga: &str, watermark: Moment) {
        let labels = SagaLabel { saga: saga.to_owned() };
        self.watermark.get_or_create(&labels).set(watermark.since(Moment(0)).as_secs_f64());
    }

    /// Everything in the OpenMetrics text format.
    ///
    /// # Errors
    /// Only when a metric itself cannot be written.
    pub fn encode(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_are_there_from_the_start_and_grow_with_a_batch() {
        let metrics = Metrics::new();
        assert!(metrics.encode().unwrap().contains("escrow_events_total{result=\"late\"} 0"));
        metrics.count(&Tally { applied: 3, deadlines_fired: 2, ..Tally::default() });
        let text = metrics.encode().unwrap();
        assert!(text.contains("escrow_events_total{result=\"applied\"} 3"), "{text}");
        assert!(text.contains("escrow_deadlines_fired_total 2"));
        assert!(text.contains("escrow_build_info{version="));
    }

    #[test]
    fn a_status_that_emptied_goes_back_to_zero() {
        let metrics = Metrics::new();
        let row = |status, count| StatusCount { saga: "order".to_owned(), status, count };
        metrics.set_stored(&[row(Status::Stuck, 4)], Backlog::default());
        assert!(metrics.encode().unwrap().contains("escrow_orders{saga=\"order\",status=\"stuck\"} 4"));
        metrics.set_stored(&[row(Status::Closed, 4)], Backlog { rows: 2, oldest_at: Some(Moment(1_500_000)) });
        let text = metrics.encode().unwrap();
        assert!(text.contains("escrow_orders{saga=\"order\",status=\"stuck\"} 0"));
        assert!(text.contains("escrow_outbox_oldest_timestamp_seconds 1.5"));
    }
}
