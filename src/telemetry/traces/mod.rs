//! Traces over OTLP: what Escrow does itself, and every finished order as one trace.
//!
//! ```text
//!   loops ──span──▶ ┌───────────────┐
//!                   │ bounded queue │──▶ a thread of its own ──▶ OTLP/HTTP
//!   finished orders │ full: dropped │
//!     └─▶ journal ─▶└───────────────┘
//! ```
//!
//! Off unless an endpoint is set. Nothing ever waits for a trace: where the queue or the receiver cannot keep up, spans are
//! dropped. Spans are made after the fact, from times that were taken on the way, so that what is not exported costs nothing.

mod client;
pub mod context;
pub mod orders;
pub mod own;

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use opentelemetry::trace::{SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_otlp::{SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, SpanData, SpanEvents, SpanLinks, SpanProcessor as _,
};
use tokio::sync::mpsc;

use crate::saga::order::OrderKey;
use crate::saga::time::Moment;

/// Spans that wait for the exporter: a few seconds of a busy Escrow, a few megabytes.
const SPANS_MAX: usize = 8_192;

/// How long spans wait to be sent together.
const SEND_EVERY: Duration = Duration::from_secs(1);

/// Finished orders whose journal is still to be read.
const ENDED_MAX: usize = 1_024;

/// How long the last spans may take when Escrow stops.
const STOP_WITHIN: Duration = Duration::from_secs(3);

/// An order that ended, by the journal entry that ended it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    pub key: OrderKey,
    pub sequence: u64,
}

/// Traces cannot be sent to where they should.
#[derive(Debug, thiserror::Error)]
#[error("traces cannot be sent to {endpoint}: {why}")]
pub struct TracesError {
    endpoint: String,
    why: String,
}

/// The way of spans to the outside.
#[derive(Debug)]
pub struct Traces {
    processor: BatchSpanProcessor,
    scope: InstrumentationScope,
    ended: mpsc::Sender<Ended>,
    waiting: Mutex<Option<mpsc::Receiver<Ended>>>,
}

impl Traces {
    /// Sends spans to the OTLP/HTTP receiver at `endpoint`; `name` tells this Escrow from others. Needs a tokio runtime.
    ///
    /// # Errors
    /// The endpoint cannot be right. Whether anybody listens there is not asked.
    pub fn start(endpoint: &str, name: &str) -> Result<Self, TracesError> {
        let failed = |why: String| TracesError { endpoint: endpoint.to_owned(), why };
        let url = traces_url(endpoint);
        if !url.starts_with("http://") && !url.starts_with("https://") {
            return Err(failed("an http:// or https:// URL is needed, like http://127.0.0.1:4318".to_owned()));
        }
        let client = client::Client::new().map_err(|error| failed(error.to_string()))?;
        let builder = SpanExporter::builder().with_http().with_http_client(client).with_endpoint(url);
        let exporter = builder.build().map_err(|error| failed(error.to_string()))?;
        let config = BatchConfigBuilder::default().with_max_queue_size(SPANS_MAX).with_scheduled_delay(SEND_EVERY);
        let mut processor = BatchSpanProcessor::new(exporter, config.build());
        let service = std::env::var("OTEL_SERVICE_NAME").unwrap_or_else(|_| "escrow".to_owned());
        let version = KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
        let attributes = [version, KeyValue::new("escrow.name", name.to_owned())];
        processor.set_resource(&Resource::builder().with_service_name(service).with_attributes(attributes).build());
        let (ended, waiting) = mpsc::channel(ENDED_MAX);
        let scope = InstrumentationScope::builder("escrow").with_version(env!("CARGO_PKG_VERSION")).build();
        Ok(Self { processor, scope, ended, waiting: Mutex::new(Some(waiting)) })
    }

    /// An order ended, and that is committed. `false` when its trace is given up: too many others wait.
    pub fn ended(&self, ended: Ended) -> bool {
        self.ended.try_send(ended).is_ok()
    }

    /// What `ended` was told, for the one who reads the journals. Only the first call gets it.
    pub fn take_ended(&self) -> Option<mpsc::Receiver<Ended>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Hands spans over.
    pub fn export(&self, spans: impl IntoIterator<Item = SpanData>) {
        for mut span in spans {
            span.instrumentation_scope = self.scope.clone();
            self.processor.on_end(span);
        }
    }

    /// Sends what waits, for a while, and ends. Blocks: not for a thread of the runtime.
    pub fn stop(&self) {
        if let Err(error) = self.processor.shutdown_with_timeout(STOP_WITHIN) {
            tracing::warn!(%error, "the last traces may not have been sent");
        }
    }
}

/// A base as `OTEL_EXPORTER_OTLP_ENDPOINT` has it, or the whole address.
fn traces_url(endpoint: &str) -> String {
    let base = endpoint.trim_end_matches('/');
    if base.ends_with("/v1/traces") { base.to_owned() } else { format!("{base}/v1/traces") }
}

/// A moment as spans have it.
fn instant(at: Moment) -> SystemTime {
    UNIX_EPOCH + at.since(Moment(0)).as_std()
}

/// A span of this trace with nothing in it yet; sampled, and made here.
fn span(trace: TraceId, id: SpanId, parent: SpanId, name: String, kind: SpanKind) -> SpanData {
    SpanData {
        span_context: SpanContext::new(trace, id, TraceFlags::SAMPLED, false, TraceState::NONE),
        parent_span_id: parent,
        parent_span_is_remote: false,
        span_kind: kind,
        name: name.into(),
        start_time: UNIX_EPOCH,
        end_time: UNIX_EPOCH,
        attributes: Vec::new(),
        dropped_attributes_count: 0,
        events: SpanEvents::default(),
        links: SpanLinks::default(),
        status: Status::Unset,
        instrumentation_scope: InstrumentationScope::default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_may_be_the_base_or_the_whole() {
        for endpoint in ["http://jaeger:4318", "http://jaeger:4318/", "http://jaeger:4318/v1/traces"] {
            assert_eq!(traces_url(endpoint), "http://jaeger:4318/v1/traces");
        }
    }

    #[tokio::test]
    async fn an_endpoint_that_is_no_url_is_refused_in_words() {
        let error = Traces::start("jaeger:4318", "test").unwrap_err().to_string();
        assert!(error.contains("jaeger:4318") && error.contains("http://127.0.0.1:4318"), "{error}");
    }
}
