//! Events over HTTP, and what a pause in accepting them means to deadlines.

use escrow::app::Running;
use escrow::saga::time::Span;
use escrow::worker::watermark::Watermarks;
use serde_json::{Value, json};

use super::bed::{Bed, START};

const SAGA: &str = "
saga: order
version: 1
watch: [{ http: {} }]
steps:
  placed: { done: Placed }
  paid: { after: placed, done: Paid, within: 30s }
";

pub async fn post(running: &Running, name: &str, order: &str) -> u16 {
    let event = json!({"specversion": "1.0", "type": name, "source": "/shop", "subject": order, "id": format!("{name}-{order}")});
    let client = reqwest::Client::new();
    let url = format!("http://{}/v1/events", running.address);
    let call = client.post(url).header("content-type", "application/cloudevents+json").body(event.to_string());
    call.send().await.unwrap().status().as_u16()
}

/// Calls the API as `ann`, and gives what it answers.
pub async fn call(running: &Running, method: &str, path: &str, body: &Value) -> Value {
    let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
    let mut call = reqwest::Client::new().request(method, format!("http://{}{path}", running.address));
    call = call.header("x-escrow-actor", "ann");
    if !body.is_null() {
        call = call.header("content-type", "application/json").body(body.to_string());
    }
    call.send().await.unwrap().json().await.unwrap()
}

async fn get(running: &Running, path: &str) -> Value {
    let answer = reqwest::get(format!("http://{}{path}", running.address)).await.unwrap();
    answer.json().await.unwrap()
}

#[tokio::test]
async fn events_over_http_are_answered_when_they_are_committed_and_deadlines_fire() {
    let bed = Bed::new(&[]).await;
    bed.propose(SAGA).await;
    let running = bed.start(false).await;
    assert_eq!(post(&running, "Placed", "1").await, 202);
    assert_eq!(bed.shown("1").await, "running: done, waiting", "before the answer came");
    assert_eq!((post(&running, "Placed", "1").await, post(&running, "Placed", "2").await), (202, 202));
    assert_eq!(bed.order("order", "1").await.unwrap().duplicates, 1);
    assert_eq!(post(&running, "Paid", "2").await, 202);
    bed.pass(&running, Span::from_secs(31)).await;
    bed.shows("1", "stuck (timed_out): done, timed_out").await;
    assert_eq!(bed.shown("2").await, "completed: done, done");
    let shown = get(&running, "/v1/sagas/order/orders/1").await;
    assert_eq!((shown["status"].as_str(), shown["stuck"]["reason"].as_str()), (Some("stuck"), Some("timed_out")));
    assert_eq!(post(&running, "Paid", "1").await, 202);
    bed.shows("1", "completed: done, done").await;
    running.stop().await;
}

#[tokio::test]
async fn after_a_restart_deadlines_wait_a_minute_for_what_could_not_be_sent() {
    let bed = Bed::new(&[]).await;
    bed.propose(SAGA).await;
    let running = bed.start(false).await;
    assert_eq!(post(&running, "Placed", "1").await, 202);
    running.stop().await;

    bed.clock.advance(Span::from_secs(600));
    let running = bed.start(false).await;
    let watermarks = Watermarks::new(None);
    let held_at = bed
        .until("the break is stored", async || {
            let row = bed.truth.tap("http".to_owned()).await.unwrap();
            row.break_began.filter(|_| row.accepting_since >= Some(START + Span::from_secs(600)))
        })
        .await;
    bed.pass(&running, Span::from_secs(50)).await;
    let known = bed.watermarks(&running, &watermarks).await;
    assert_eq!(known.by_saga["order"], held_at, "held at the moment the break began");
    assert_eq!(bed.shown("1").await, "running: done, waiting");
    // It was paid in time; its service could not say so before.
    assert_eq!(post(&running, "Paid", "1").await, 202);
    assert_eq!(post(&running, "Placed", "2").await, 202);
    bed.pass(&running, Span::from_secs(12)).await;
    let known = bed.watermarks(&running, &watermarks).await;
    assert_eq!(known.by_saga["order"], known.now, "a minute without a break");
    assert_eq!(bed.shown("1").await, "completed: done, done");
    bed.pass(&running, Span::from_secs(30)).await;
    bed.shows("2", "stuck (timed_out): done, timed_out").await;
    running.stop().await;
}

#[tokio::test]
async fn every_form_of_a_cloud_event_reaches_its_order() {
    let bed = Bed::new(&[]).await;
    bed.propose(SAGA).await;
    let running = bed.start(false).await;
    let client = reqwest::Client::new();
    let url = format!("http://{}/v1/events", running.address);
    let attributes =
        |order: &str| json!({"specversion": "1.0", "type": "Placed", "source": "/shop", "subject": order, "id": "1"});
    let json = |kind: &str, body: String| client.post(&url).header("content-type", kind).body(body).send();
    let structured = json("application/cloudevents+json; charset=utf-8", attributes("structured").to_string());
    assert_eq!(structured.await.unwrap().status().as_u16(), 202);
    let batch = json!([attributes("first"), attributes("second")]).to_string();
    assert_eq!(json("application/cloudevents-batch+json", batch).await.unwrap().status().as_u16(), 202);
    let mut binary = client.post(&url).header("content-type", "application/json").body("{}");
    for (name, value) in [
        ("specversion", "1.0"),
        ("type", "Placed"),
        ("source", "/shop"),
        ("id", "1"),
        ("subject", "100%25%20%E2%82%AC%2520"),
    ] {
        binary = binary.header(format!("ce-{name}"), value);
    }
    assert_eq!(binary.send().await.unwrap().status().as_u16(), 202);
    for order in ["structured", "first", "second", "100% €%20"] {
        assert_eq!(bed.shown(order).await, "running: done, waiting", "{order}");
    }
    running.stop().await;
}

#[tokio::test]
async fn a_bad_event_is_refused_or_kept_and_the_next_one_is_taken() {
    let bed = Bed::new(&[]).await;
    bed.propose(SAGA).await;
    let running = bed.start(false).await;
    let client = reqwest::Client::new();
    let url = format!("http://{}/v1/events", running.address);
    let event = |subject: &str, more: &str| {
        format!(r#"{{"specversion":"1.0","type":"Placed","source":"/s","id":"1","subject":{subject}{more}}}"#)
            .into_bytes()
    };
    let nested = format!(r#","data":{}{}"#, "[".repeat(1_000), "]".repeat(1_000));
    let cases: [(Vec<u8>, u16, Option<&str>); 14] = [
        (Vec::new(), 400, None),
        (b"\xff".to_vec(), 400, None),
        (vec![0; 100], 400, None),
        (b"\x1f\x8b\x08\x00\x00\x00\x00\x00".to_vec(), 400, None),
        (vec![b' '; 17 << 20], 413, None),
        (event("\"a\"", &nested), 400, None),
        (event("\"\\ud800\"", ""), 400, None),
        (event("\"a\\u0000b\"", ""), 202, Some("bad_order_id")),
        (event(&format!("\"{}\"", "x".repeat(257)), ""), 202, Some("bad_order_id")),
        (event("1.5", ""), 202, Some("bad_order_id")),
        (event("null", ""), 202, Some("no_order_id")),
        (event("\"zero beside\"", r#","data":"\u0000""#), 202, None),
        (event(&format!("\"{}\"", "x".repeat(256)), ""), 202, None),
        (event("\"/?#%\\r\\n\\u001b[31m\"", ""), 202, None),
    ];
    let mut reasons = Vec::new();
    for (body, status, reason) in cases {
        let shown = String::from_utf8_lossy(&body[..body.len().min(80)]).into_owned();
        let call = client.post(&url).header("content-type", "application/cloudevents+json").body(body);
        let answer = call.send().await.unwrap();
        assert_eq!(answer.status().as_u16(), status, "{shown}");
        if status != 202 {
            assert!(answer.json::<Value>().await.is_ok(), "a problem is JSON: {shown}");
        }
        reasons.extend(reason);
    }
    let kept: Vec<String> = bed.quarantine().await.into_iter().rev().map(|row| row.reason).collect();
    assert_eq!(kept, reasons);
    for order in ["zero beside", &"x".repeat(256), "/?#%\r\n\u{1b}[31m"] {
        assert_eq!(bed.shown(order).await, "running: done, waiting", "{order:?}");
    }
    assert_eq!(post(&running, "Placed", "the last").await, 202);
    running.stop().await;
}
