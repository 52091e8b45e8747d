//! Traces, as a receiver of OTLP gets them: one for each finished order, and Escrow's own.

use std::sync::{Arc, Mutex};

use axum::body::Bytes;
use axum::extract::State;
use axum::routing::post;
use escrow::app::Running;
use escrow::bus::Envelope;
use escrow::saga::time::Span as Time;
use escrow::telemetry::Traces;
use escrow::telemetry::traces::orders::trace_id;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Said;
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use prost::Message as _;
use serde_json::{Value, json};

use super::bed::{Bed, ORDER, TAP, key};

const PAST: Time = Time::from_secs(31);

/// What came in so far.
#[derive(Clone, Default)]
struct Receiver(Arc<Mutex<Vec<Span>>>);

async fn receive(State(receiver): State<Receiver>, body: Bytes) {
    let request = ExportTraceServiceRequest::decode(body).expect("what is sent is OTLP");
    for resource in request.resource_spans {
        let attributes = resource.resource.expect("it says who it is").attributes;
        assert!(attributes.iter().any(|it| it.key == "service.name"));
        receiver.0.lock().unwrap().extend(resource.scope_spans.into_iter().flat_map(|scope| scope.spans));
    }
}

impl Receiver {
    async fn start() -> (Self, Traces) {
        let receiver = Self::default();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let app = axum::Router::new().route("/v1/traces", post(receive)).with_state(receiver.clone());
        tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        (receiver, Traces::start(&endpoint, "test").unwrap())
    }

    fn spans(&self, of: impl Fn(&Span) -> bool) -> Vec<Span> {
        self.0.lock().unwrap().iter().filter(|span| of(span)).cloned().collect()
    }

    /// The spans of an order, once its root is there: the root, and the others by when they began.
    async fn order(&self, bed: &Bed, order_id: &str) -> (Span, Vec<Span>) {
        let id = trace_id(&key("order", order_id)).to_bytes();
        bed.until("the order is traced", async || {
            let mut spans = self.spans(|span| span.trace_id == id);
            let root = spans.iter().position(|span| span.parent_span_id.is_empty())?;
            let root = spans.remove(root);
            spans.sort_by_key(|span| (span.start_time_unix_nano, span.name.clone()));
            (spans.len() >= 2).then_some((root, spans))
        })
        .await
    }
}

async fn traced(bed: &Bed, traces: Traces) -> Running {
    bed.propose(ORDER).await;
    let running = bed.start_traced(true, Some(traces)).await;
    bed.until("the tap is watched", async || bed.truth.tap(TAP.to_owned()).await.unwrap().watermark.map(drop)).await;
    running
}

fn parent(n: u32) -> String {
    format!("00-{n:032x}-00f067aa0ba902b7-01")
}

/// Publishes an event that says which trace it belongs to.
fn say(bed: &Bed, name: &str, order: &str, trace: u32) {
    let mut envelope = Envelope::default();
    envelope.properties.insert("message_id".to_owned(), Value::from(format!("{name}-{order}")));
    envelope.headers.insert("traceparent".to_owned(), Value::from(parent(trace)));
    bed.bus.send("shop", "", envelope, json!({"type": name, "order": order}).to_string().into_bytes());
}

fn linked(span: &Span) -> Vec<u32> {
    let last = |id: &Vec<u8>| u32::from_be_bytes(id[12..].try_into().unwrap());
    span.links.iter().map(|link| last(&link.trace_id)).collect()
}

fn said(span: &Span, name: &str) -> Option<String> {
    let value = span.attributes.iter().find(|it| it.key == name)?.value.clone()?.value?;
    Some(match value {
        Said::StringValue(text) => text,
        Said::IntValue(number) => number.to_string(),
        other => format!("{other:?}"),
    })
}

fn status(span: &Span) -> (StatusCode, String) {
    let status = span.status.clone().unwrap_or_default();
    (status.code(), status.message)
}

#[tokio::test]
async fn a_finished_order_is_one_trace_with_its_steps_in_it() {
    let (receiver, traces) = Receiver::start().await;
    let bed = Bed::new(&["shop"]).await;
    let running = traced(&bed, traces).await;
    say(&bed, "Placed", "1", 71);
    bed.shows("1", "running: done, waiting").await;
    assert_eq!(receiver.spans(|span| span.trace_id == trace_id(&key("order", "1")).to_bytes()).len(), 0);
    bed.clock.advance(Time::from_secs(7));
    say(&bed, "Paid", "1", 72);
    bed.shows("1", "completed: done, done").await;
    let (root, steps) = receiver.order(&bed, "1").await;
    assert_eq!((root.name.as_str(), status(&root).0), ("order", StatusCode::Ok));
    assert_eq!(said(&root, "escrow.order_id").as_deref(), Some("1"));
    assert_eq!(linked(&root), [71, 72]);
    let shown: Vec<_> = steps.iter().map(|step| (step.name.as_str(), linked(step))).collect();
    assert_eq!(
        shown,
        [("paid", vec![72, 71]), ("placed", vec![71])],
        "each step is linked to what opened and closed it"
    );
    assert!(steps.iter().all(|step| step.parent_span_id == root.span_id && step.trace_id == root.trace_id));
    let taken = steps[0].end_time_unix_nano - steps[0].start_time_unix_nano;
    assert_eq!(taken, 7_000_000_000, "as long as the services took");
    assert_eq!(root.end_time_unix_nano, steps[0].end_time_unix_nano);
    running.stop().await;
}

#[tokio::test]
async fn a_timeout_and_its_undoing_are_seen_in_the_trace() {
    let (receiver, traces) = Receiver::start().await;
    let bed = Bed::new(&["shop"]).await;
    let running = traced(&bed, traces).await;
    bed.event("Placed", "1");
    bed.shows("1", "running: done, waiting").await;
    bed.pass(&running, PAST).await;
    bed.shows("1", "compensated: done, compensated").await;
    let (root, steps) = receiver.order(&bed, "1").await;
    assert_eq!(status(&root), (StatusCode::Error, "compensated".to_owned()));
    let find = |name: &str| steps.iter().find(|step| step.name == name).expect(name);
    assert_eq!(status(find("paid")), (StatusCode::Error, "timed_out".to_owned()));
    assert_eq!(status(find("undo paid")).0, StatusCode::Ok);
    assert!(find("undo paid").start_time_unix_nano >= find("paid").end_time_unix_nano);
    let asked: Vec<_> = find("undo paid").events.iter().map(|event| event.name.as_str()).collect();
    assert_eq!(asked, ["compensation"]);
    let text = running.escrow.metrics.encode().unwrap();
    assert!(text.contains("escrow_order_traces_total{result=\"exported\"} 1"), "{text}");
    running.stop().await;
}

#[tokio::test]
async fn a_large_batch_is_one_span_with_a_bounded_number_of_links() {
    const MESSAGES: u32 = 400;
    let (receiver, traces) = Receiver::start().await;
    let bed = Bed::new(&["shop"]).await;
    let first = traced(&bed, traces).await;
    first.stop().await;
    for n in 1..=MESSAGES {
        say(&bed, "Placed", &format!("o{n}"), n);
    }
    let (second, traces) = Receiver::start().await;
    let running = bed.start_traced(true, Some(traces)).await;
    let is_batch = |span: &Span| span.kind() == SpanKind::Consumer;
    let batches = bed
        .until("every message was in some batch", async || {
            let batches = second.spans(is_batch);
            let count = |span: &Span| said(span, "messaging.batch.message_count").unwrap().parse::<u32>().unwrap();
            (batches.iter().map(count).sum::<u32>() >= MESSAGES).then_some(batches)
        })
        .await;
    assert!(receiver.spans(is_batch).is_empty(), "nothing was published before");
    assert!(batches.len() < MESSAGES as usize / 4, "{} spans for {MESSAGES} messages", batches.len());
    assert!(batches.iter().all(|span| span.links.len() <= 128));
    assert!(batches.iter().any(|span| span.links.len() == 128), "the first were as many as there may be");
    let batch = &batches[0];
    assert_eq!(batch.name, format!("process {TAP}"));
    assert_eq!(said(batch, "messaging.destination.name").as_deref(), Some(TAP));
    assert_eq!(said(batch, "messaging.system").as_deref(), Some("rabbitmq"));
    bed.until("its transaction is a span in it", async || {
        let commits = second.spans(|span| span.name == "commit" && span.parent_span_id == batch.span_id);
        commits.first().map(|commit| assert!(commit.start_time_unix_nano >= batch.start_time_unix_nano))
    })
    .await;
    running.stop().await;
}

#[tokio::test]
async fn what_is_published_is_a_span() {
    let (receiver, traces) = Receiver::start().await;
    let bed = Bed::new(&["shop"]).await;
    let running = traced(&bed, traces).await;
    bed.event("Placed", "1");
    bed.shows("1", "running: done, waiting").await;
    bed.pass(&running, PAST).await;
    bed.shows("1", "compensated: done, compensated").await;
    let sent = bed
        .until("the compensation is seen going out", async || {
            let sent = receiver.spans(|span| span.kind() == SpanKind::Producer);
            sent.into_iter().find(|span| said(span, "escrow.kinds").is_some_and(|it| it.contains("compensation")))
        })
        .await;
    assert_eq!(said(&sent, "messaging.operation.type").as_deref(), Some("send"));
    running.stop().await;
}

#[tokio::test]
async fn a_receiver_that_is_away_holds_nothing_up() {
    let bed = Bed::new(&["shop"]).await;
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let running = traced(&bed, Traces::start(&format!("http://{closed}"), "test").unwrap()).await;
    for n in 0..50 {
        bed.event("Placed", &n.to_string());
        bed.event("Paid", &n.to_string());
    }
    for n in 0..50 {
        bed.shows(&n.to_string(), "completed: done, done").await;
    }
    running.stop().await;
}
