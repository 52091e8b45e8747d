//! Escrow's own spans: a batch received and committed, a batch published. One span for a batch, however large it is, with links
//! to the traces of some of its messages.
//!
//! Named and filled as the messaging conventions of OpenTelemetry ask for.

use opentelemetry::trace::{SpanContext, SpanId, SpanKind, TraceId};
use opentelemetry::{Array, KeyValue, Value};
use opentelemetry_sdk::trace::SpanData;
use uuid::Uuid;

use super::{context, instant, span};
use crate::clock::{Clock as _, System};
use crate::saga::time::Moment;

/// When something began, by the machine's clock: spans are compared with those of other programs.
#[derive(Clone, Copy, Debug)]
pub struct Began(Moment);

impl Began {
    /// It begins now.
    pub fn now() -> Self {
        Self(System.now())
    }
}

/// A batch that was taken from a queue, applied and acknowledged.
#[derive(Debug)]
pub struct Received {
    pub began: Began,
    pub committing: Began,
    pub committed: Began,
    pub queue: String,
    pub messages: usize,
    pub contexts: Vec<SpanContext>,
}

impl Received {
    /// The span of the batch, and in it that of the transaction.
    pub fn spans(self) -> [SpanData; 2] {
        let (trace, id) = fresh();
        let mut batch = span(trace, id, SpanId::INVALID, format!("process {}", self.queue), SpanKind::Consumer);
        (batch.start_time, batch.end_time) = (instant(self.began.0), instant(System.now()));
        batch.attributes = messaging("process", "process", &self.queue, self.messages);
        batch.links = context::links(self.contexts);
        let (_, id) = fresh();
        let mut commit = span(trace, id, batch.span_context.span_id(), "commit".to_owned(), SpanKind::Internal);
        (commit.start_time, commit.end_time) = (instant(self.committing.0), instant(self.committed.0));
        [batch, commit]
    }
}

/// A batch that was published and confirmed, or not.
#[derive(Debug)]
pub struct Sent {
    pub began: Began,
    pub messages: usize,
    /// The words that are in it: `telling`, `retry`, `compensation`.
    pub kinds: Vec<&'static str>,
    pub unknown: usize,
    pub contexts: Vec<SpanContext>,
}

impl Sent {
    /// Its span.
    pub fn span(self) -> SpanData {
        let (trace, id) = fresh();
        let mut sent = span(trace, id, SpanId::INVALID, "send escrow".to_owned(), SpanKind::Producer);
        (sent.start_time, sent.end_time) = (instant(self.began.0), instant(System.now()));
        sent.attributes = messaging("send", "publish", crate::saga::outgoing::EXCHANGE, self.messages);
        let kinds = Array::String(self.kinds.into_iter().map(Into::into).collect());
        sent.attributes.push(KeyValue::new("escrow.kinds", Value::Array(kinds)));
        sent.links = context::links(self.contexts);
        if self.unknown > 0 {
            sent.attributes.push(KeyValue::new("escrow.without_word", whole(self.unknown)));
        }
        sent
    }
}

fn messaging(kind: &'static str, name: &'static str, destination: &str, messages: usize) -> Vec<KeyValue> {
    vec![
        KeyValue::new("messaging.system", "rabbitmq"),
        KeyValue::new("messaging.operation.type", kind),
        KeyValue::new("messaging.operation.name", name),
        KeyValue::new("messaging.destination.name", destination.to_owned()),
        KeyValue::new("messaging.batch.message_count", whole(messages)),
    ]
}

fn whole(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// Ids nobody else has.
fn fresh() -> (TraceId, SpanId) {
    let bytes = Uuid::new_v4().into_bytes();
    // Of the two halves, the second begins with the fixed bits of the variant: it is never zero.
    let [_, _, _, _, _, _, _, _, half @ ..] = bytes;
    (TraceId::from_bytes(bytes), SpanId::from_bytes(half))
}
