//! Every metric of one Escrow, and how it gets its value.
//!
//! ```text
//!   commit ──▶ count, finish      counters and histograms: this replica's own, so take the sum over replicas
//!   store  ──▶ set_stored, …      gauges of what is stored: the same on every replica, so take the max
//! ```
//!
//! Nothing is observed before its transaction is committed. What can be at zero is there from the start, so that a rate has a
//! beginning. `docs/metrics.md` says what each is for.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::Hash;
use std::sync::atomic::AtomicU64;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::{Family, MetricConstructor};
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

use crate::saga::batch::{Outcome, QuarantineReason, SavedOrder, Tally};
use crate::saga::definition::Saga;
use crate::saga::incident::cause::Cause;
use crate::saga::incident::decide::Standing;
use crate::saga::journal::StepChange;
use crate::saga::order::{Status, StepStatus, StuckReason};
use crate::saga::time::Moment;
use crate::store::{Backlog, Connections, OpenCounts, StatusCount, StuckGroup};

use super::labels::{
    CauseLabel, ChannelLabel, ClassLabel, ClosedLabels, EmissionLabels, EndLabels, EventLabels, HttpLabels, Names,
    OrdersLabels, ReasonLabel, ResultLabel, RoleLabel, SagaLabel, StepLabels,
};

/// A gauge of seconds since 1970, or of fractions.
pub type FloatGauge = Gauge<f64, AtomicU64>;

type Histograms<L> = Family<L, Histogram, fn() -> Histogram>;

/// The kinds of publications, as the outbox has them.
const KINDS: [&str; 3] = ["telling", "retry", "compensation"];
/// The broker's word.
const WORDS: [&str; 5] = ["confirmed", "unroutable", "refused", "withheld", "unknown"];
/// How an order can end.
const ENDS: [Status; 5] = [Status::Completed, Status::Compensated, Status::Cancelled, Status::Failed, Status::Closed];
/// How a step can be closed. What comes after, its undoing, is no part of how long it took.
const CLOSINGS: [StepStatus; 4] = [StepStatus::Done, StepStatus::Failed, StepStatus::TimedOut, StepStatus::Skipped];
/// What keeps a deadline that has passed from being decided, or its decision from being acted on.
const HOLDS: [&str; 4] = ["watermark", "held", "unproven", "observe"];
/// The kinds of receivers of alerts.
const CHANNELS: [&str; 5] = ["alertmanager", "slack", "pagerduty", "webhook", "email"];

/// Every metric of one Escrow. Clones of a metric are the same metric.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    names: Names,
    /// (delivery, saga) pairs by outcome: `applied`, `duplicate`, `ignored`, `late`, `quarantined`.
    pub events: Family<EventLabels, Counter>,
    /// Up to when everything published is applied, by saga; seconds since 1970.
    pub watermark: Family<SagaLabel, FloatGauge>,
    /// Whether the brake holds orders, by saga.
    pub brake_latched: Family<SagaLabel, Gauge>,
    /// Messages waiting in the tap at the last look.
    pub tap_depth: Gauge,
    /// Messages the tap holds before it drops its oldest.
    pub tap_limit: Gauge,
    /// Orders by status.
    pub orders: Family<OrdersLabels, Gauge>,
    orders_waiting: Family<StepLabels, Gauge>,
    orders_overdue: Family<StepLabels, Gauge>,
    order_duration: Histograms<EndLabels>,
    step_duration: Histograms<ClosedLabels>,
    pub deadlines_fired: Counter,
    /// From a deadline to the commit that decided it; seconds.
    pub deadline_fire_delay: Histogram,
    pub deadlines_held: Family<ReasonLabel, Gauge>,
    pub outbox_pending: Gauge,
    /// When the oldest row of the outbox was written; seconds since 1970, 0 when there is none.
    pub outbox_oldest: FloatGauge,
    /// Publications by kind and the broker's word: `confirmed`, `unroutable`, `refused`, `withheld`, `unknown`.
    pub emissions: Family<EmissionLabels, Counter>,
    /// From publishing to the broker's last word, for each batch of messages; seconds.
    pub emission_confirm: Histogram,
    /// 1 while the connection stands.
    pub amqp_connected: Family<RoleLabel, Gauge>,
    /// 1 while the broker holds back what is published.
    pub amqp_blocked: Gauge,
    /// Consumers of the tap begun again, by reason.
    pub consumer_restarts: Family<ReasonLabel, Counter>,
    /// Stretches of time in which messages may have been missed.
    pub coverage_gaps: Counter,
    /// Batches that had to be tried again.
    pub db_retries: Family<ClassLabel, Counter>,
    /// One transaction of inputs, with what it waited for; seconds.
    pub commit_duration: Histogram,
    db_pool_in_use: Gauge,
    db_pool_idle: Gauge,
    quarantine_open: Family<ReasonLabel, Gauge>,
    incidents_open: Family<CauseLabel, Gauge>,
    /// Tries to tell people, by kind of receiver.
    pub alert_notifications: Family<ChannelLabel, Counter>,
    /// Those of them that did not arrive.
    pub alert_notifications_failed: Family<ChannelLabel, Counter>,
    /// Finished orders for the exporter of traces: `exported`, or `dropped` because it could not keep up.
    pub order_traces: Family<ResultLabel, Counter>,
    /// HTTP calls by route; seconds.
    pub http_duration: Histograms<HttpLabels>,
}

/// From a millisecond to half a minute.
fn seconds() -> Histogram {
    Histogram::new(exponential_buckets(0.001, 2.0, 16))
}

/// From a twentieth of a second to a little more than a week.
fn long_seconds() -> Histogram {
    Histogram::new(exponential_buckets(0.05, 3.0, 16))
}

/// Makes a series that is not there yet, at zero.
fn zero<L: Clone + Hash + Eq, M, C: MetricConstructor<M>>(family: &Family<L, M, C>, labels: &L) {
    drop(family.get_or_create(labels));
}

fn whole(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// All metrics, registered; those whose labels are known are at zero.
    pub fn new() -> Self {
        let mut metrics = Self {
            registry: Registry::default(),
            names: Names::default(),
            events: Family::default(),
            watermark: Family::default(),
            brake_latched: Family::default(),
            tap_depth: Gauge::default(),
            tap_limit: Gauge::default(),
            orders: Family::default(),
            orders_waiting: Family::default(),
            orders_overdue: Family::default(),
            order_duration: Family::new_with_constructor(long_seconds),
            step_duration: Family::new_with_constructor(long_seconds),
            deadlines_fired: Counter::default(),
            deadline_fire_delay: seconds(),
            deadlines_held: Family::default(),
            outbox_pending: Gauge::default(),
            outbox_oldest: FloatGauge::default(),
            emissions: Family::default(),
            emission_confirm: seconds(),
            amqp_connected: Family::default(),
            amqp_blocked: Gauge::default(),
            consumer_restarts: Family::default(),
            coverage_gaps: Counter::default(),
            db_retries: Family::default(),
            commit_duration: seconds(),
            db_pool_in_use: Gauge::default(),
            db_pool_idle: Gauge::default(),
            quarantine_open: Family::default(),
            incidents_open: Family::default(),
            alert_notifications: Family::default(),
            alert_notifications_failed: Family::default(),
            order_traces: Family::default(),
            http_duration: Family::new_with_constructor(seconds),
        };
        metrics.begin();
        metrics.register_orders();
        metrics.register_machinery();
        metrics
    }

    /// Everything with labels of a fixed list, at zero.
    fn begin(&self) {
        for reason in HOLDS {
            zero(&self.deadlines_held, &ReasonLabel { reason });
        }
        for (kind, result) in KINDS.into_iter().flat_map(|kind| WORDS.map(|result| (kind, result))) {
            zero(&self.emissions, &EmissionLabels { kind, result });
        }
        for role in ["consume", "publish"] {
            zero(&self.amqp_connected, &RoleLabel { role });
        }
        for reason in ["bus", "database"] {
            zero(&self.consumer_restarts, &ReasonLabel { reason });
        }
        for result in ["exported", "dropped"] {
            zero(&self.order_traces, &ResultLabel { result });
        }
        for class in ["conflict", "unavailable"] {
            zero(&self.db_retries, &ClassLabel { class });
        }
        for channel in CHANNELS {
            zero(&self.alert_notifications, &ChannelLabel { channel });
            zero(&self.alert_notifications_failed, &ChannelLabel { channel });
        }
        zero(&self.events, &EventLabels { saga: String::new(), result: Outcome::Quarantined.word() });
        self.set_open(&OpenCounts::default(), &[], &[]);
    }

    fn register_orders(&mut self) {
        let to = &mut self.registry;
        to.register("escrow_events", "Deliveries by saga and outcome", self.events.clone());
        to.register(
            "escrow_ingest_watermark_timestamp_seconds",
            "Everything published before this is applied",
            self.watermark.clone(),
        );
        to.register("escrow_brake_latched", "Whether the brake holds orders", self.brake_latched.clone());
        to.register("escrow_orders", "Orders by status", self.orders.clone());
        to.register("escrow_orders_waiting", "Orders that wait for a step", self.orders_waiting.clone());
        to.register(
            "escrow_orders_overdue",
            "Orders stuck because the answer of a step did not come in time",
            self.orders_overdue.clone(),
        );
        to.register(
            "escrow_order_duration_seconds",
            "From an order's first event to its end",
            self.order_duration.clone(),
        );
        to.register(
            "escrow_step_duration_seconds",
            "From the opening of a step to its closing",
            self.step_duration.clone(),
        );
        to.register("escrow_deadlines_fired", "Deadlines decided", self.deadlines_fired.clone());
        to.register(
            "escrow_deadline_fire_delay_seconds",
            "From a deadline to the decision about it",
            self.deadline_fire_delay.clone(),
        );
        to.register(
            "escrow_deadlines_held",
            "Orders whose deadline has passed without effect, by what holds it",
            self.deadlines_held.clone(),
        );
        to.register("escrow_quarantine_open", "Messages in quarantine by reason", self.quarantine_open.clone());
        to.register("escrow_incidents_open", "Incidents that are open, by cause", self.incidents_open.clone());
    }

    fn register_machinery(&mut self) {
        let to = &mut self.registry;
        let build = Info::new(vec![("version", env!("CARGO_PKG_VERSION"))]);
        to.register("escrow_build", "The program that runs", build);
        to.register("escrow_tap_depth", "Messages waiting in the tap", self.tap_depth.clone());
        to.register("escrow_tap_limit", "Messages the tap holds before it drops the oldest", self.tap_limit.clone());
        to.register("escrow_outbox_pending", "Messages waiting to be published", self.outbox_pending.clone());
        to.register(
            "escrow_outbox_oldest_timestamp_seconds",
            "When the oldest waiting message was written",
            self.outbox_oldest.clone(),
        );
        to.register("escrow_emissions", "Publications by kind and the broker's word", self.emissions.clone());
        to.register(
            "escrow_emission_confirm_seconds",
            "From publishing to the broker's word",
            self.emission_confirm.clone(),
        );
        to.register("escrow_amqp_connected", "1 while a connection stands", self.amqp_connected.clone());
        to.register("escrow_amqp_blocked", "1 while the broker takes no publications", self.amqp_blocked.clone());
        to.register("escrow_consumer_restarts", "Consumers begun again", self.consumer_restarts.clone());
        to.register("escrow_coverage_gaps", "Times when messages may have been missed", self.coverage_gaps.clone());
        to.register("escrow_db_retries", "Batches tried again", self.db_retries.clone());
        to.register("escrow_commit_duration_seconds", "Transactions of inputs", self.commit_duration.clone());
        to.register("escrow_db_pool_in_use", "Connections to the database at work", self.db_pool_in_use.clone());
        to.register("escrow_db_pool_idle", "Connections to the database at rest", self.db_pool_idle.clone());
        to.register("escrow_alert_notifications", "Tries to tell people", self.alert_notifications.clone());
        to.register(
            "escrow_alert_notifications_failed",
            "Tries to tell people that did not arrive",
            self.alert_notifications_failed.clone(),
        );
        to.register("escrow_order_traces", "Finished orders for the exporter of traces", self.order_traces.clone());
        to.register("escrow_label_overflow", "Names that had no place as a label", self.names.overflow());
        to.register("http_server_request_duration_seconds", "HTTP calls", self.http_duration.clone());
    }

    /// Puts everything about a saga at zero that is not there yet.
    pub fn expect(&self, saga: &Saga) {
        let label = SagaLabel { saga: self.names.saga(&saga.name) };
        for outcome in Outcome::ALL {
            let labels = EventLabels { saga: label.saga.clone(), result: outcome.word() };
            zero(&self.events, &labels);
        }
        for status in Status::ALL {
            let labels = OrdersLabels { saga: label.saga.clone(), status: status.word() };
            zero(&self.orders, &labels);
        }
        for end in ENDS {
            let labels = EndLabels { saga: label.saga.clone(), outcome: end.word() };
            zero(&self.order_duration, &labels);
        }
        for step in &saga.steps {
            let StepLabels { saga, step } = self.names.step(&saga.name, &step.name);
            for closing in CLOSINGS {
                let labels = ClosedLabels { saga: saga.clone(), step: step.clone(), outcome: closing.word() };
                zero(&self.step_duration, &labels);
            }
            let labels = StepLabels { saga, step };
            zero(&self.orders_waiting, &labels);
            zero(&self.orders_overdue, &labels);
        }
        zero(&self.watermark, &label);
        zero(&self.brake_latched, &label);
    }

    /// Adds the outcomes of a committed batch.
    pub fn count(&self, tally: &Tally) {
        for ((saga, outcome), count) in &tally.by_saga {
            let labels = EventLabels { saga: self.names.saga(saga), result: outcome.word() };
            self.events.get_or_create(&labels).inc_by(*count);
        }
        self.deadlines_fired.inc_by(tally.deadlines_fired);
    }

    /// Adds how long it took what a committed batch finished: steps, and whole orders.
    pub fn finish(&self, saved: &SavedOrder) {
        let saga = &saved.order.key.saga;
        for entry in &saved.entries {
            let body = &entry.entry.body;
            for change in &body.steps {
                let named = saved.step_names.get(change.step).zip(closing(change, entry.entry.at));
                let Some((name, (outcome, seconds))) = named else { continue };
                let StepLabels { saga, step } = self.names.step(saga, name);
                let labels = ClosedLabels { saga, step, outcome: outcome.word() };
                self.step_duration.get_or_create(&labels).observe(seconds);
            }
            let Some(life) = body.life.as_ref().filter(|life| !life.from.is_ended()) else { continue };
            if let Some(ended_at) = life.now.ended_at.filter(|_| life.now.status.is_ended()) {
                let labels = EndLabels { saga: self.names.saga(saga), outcome: life.now.status.word() };
                let seconds = ended_at.since(saved.order.created_at).as_secs_f64();
                self.order_duration.get_or_create(&labels).observe(seconds);
            }
        }
    }

    /// Sets the gauges of what is stored.
    pub fn set_stored(&self, counts: &[StatusCount], backlog: Backlog) {
        let sagas: BTreeSet<&str> = counts.iter().map(|it| it.saga.as_str()).collect();
        for saga in sagas {
            for status in Status::ALL {
                let row = counts.iter().find(|it| it.saga == saga && it.status == status);
                let labels = OrdersLabels { saga: self.names.saga(saga), status: status.word() };
                self.orders.get_or_create(&labels).set(row.map_or(0, |row| whole(row.count)));
            }
        }
        self.outbox_pending.set(whole(backlog.rows));
        self.outbox_oldest.set(backlog.oldest_at.map_or(0.0, |at| at.since(Moment(0)).as_secs_f64()));
    }

    /// Sets the gauges of what waits for services or people: steps, quarantine, incidents.
    pub fn set_open(&self, open: &OpenCounts, stuck: &[StuckGroup], incidents: &[Standing]) {
        let mut waiting: BTreeMap<StepLabels, u64> = BTreeMap::new();
        for row in &open.waiting {
            *waiting.entry(self.names.step(&row.saga, &row.step)).or_default() += row.count;
        }
        self.set_steps(&self.orders_waiting, &waiting);
        let mut overdue: BTreeMap<StepLabels, u64> = BTreeMap::new();
        for group in stuck.iter().filter(|group| is_overdue(group.reason)) {
            let step = group.step.as_deref().unwrap_or_default();
            *overdue.entry(self.names.step(&group.saga, step)).or_default() += group.count;
        }
        self.set_steps(&self.orders_overdue, &overdue);
        for reason in QuarantineReason::ALL {
            let row = open.quarantine.iter().find(|row| row.0 == reason.word());
            let label = ReasonLabel { reason: reason.word() };
            self.quarantine_open.get_or_create(&label).set(row.map_or(0, |row| whole(row.1)));
        }
        for cause in Cause::all().map(Cause::word) {
            let open = incidents.iter().filter(|it| it.incident.about.cause == cause).count();
            self.incidents_open.get_or_create(&CauseLabel { cause }).set(whole(open as u64));
        }
        for reason in [StuckReason::Held, StuckReason::Unproven, StuckReason::Observe] {
            let count = stuck.iter().filter(|group| group.reason == reason).map(|group| group.count).sum();
            self.deadlines_held.get_or_create(&ReasonLabel { reason: reason.word() }).set(whole(count));
        }
    }

    /// Sets how many orders have a deadline that is past by the clock, and not yet by the watermark.
    pub fn set_held_by_watermark(&self, orders: usize) {
        self.deadlines_held.get_or_create(&ReasonLabel { reason: HOLDS[0] }).set(whole(orders as u64));
    }

    /// Sets how many connections to the database there are.
    pub fn set_connections(&self, connections: Connections) {
        self.db_pool_in_use.set(whole(connections.in_use));
        self.db_pool_idle.set(whole(connections.idle));
    }

    /// Sets how far a saga is read.
    pub fn set_watermark(&self, saga: &str, watermark: Moment) {
        let labels = SagaLabel { saga: self.names.saga(saga) };
        self.watermark.get_or_create(&labels).set(watermark.since(Moment(0)).as_secs_f64());
    }

    /// Sets whether the brake of a saga holds orders.
    pub fn set_brake(&self, saga: &str, latched: bool) {
        let labels = SagaLabel { saga: self.names.saga(saga) };
        self.brake_latched.get_or_create(&labels).set(i64::from(latched));
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

    /// A step that is not named is at zero: it may have been above.
    fn set_steps(&self, gauge: &Family<StepLabels, Gauge>, counts: &BTreeMap<StepLabels, u64>) {
        for labels in self.names.steps() {
            gauge.get_or_create(&labels).set(counts.get(&labels).map_or(0, |count| whole(*count)));
        }
        for (labels, count) in counts {
            gauge.get_or_create(labels).set(whole(*count));
        }
    }
}

/// How a step was closed at `at`, and for how many seconds it had been open.
fn closing(change: &StepChange, at: Moment) -> Option<(StepStatus, f64)> {
    let StepChange { from, now, step: _ } = change;
    let (opened_at, closed_at) = now.opened_at.zip(now.closed_at).filter(|(_, closed_at)| *closed_at == at)?;
    let outcome = match now.status {
        StepStatus::Done | StepStatus::Failed | StepStatus::TimedOut | StepStatus::Skipped => now.status,
        // What was given up and turned back in one go is on its way back already.
        StepStatus::Compensating | StepStatus::Compensated | StepStatus::CompensationFailed
            if now.failure.is_some() =>
        {
            StepStatus::Failed
        }
        StepStatus::Compensating | StepStatus::Compensated | StepStatus::CompensationFailed => StepStatus::TimedOut,
        StepStatus::Pending | StepStatus::Waiting => return None,
    };
    (*from != outcome).then(|| (outcome, closed_at.since(opened_at).as_secs_f64()))
}

fn is_overdue(reason: StuckReason) -> bool {
    match reason {
        StuckReason::TimedOut | StuckReason::OrderOverdue | StuckReason::CompensationOverdue => true,
        StuckReason::Failed
        | StuckReason::CompensationUnroutable
        | StuckReason::CompensationRefused
        | StuckReason::CompensationFailed
        | StuckReason::TemplateFailed
        | StuckReason::Held
        | StuckReason::Unproven
        | StuckReason::Observe => false,
    }
}
