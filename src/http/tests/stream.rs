//! The live stream.

use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use http_body_util::BodyExt as _;
use tower::ServiceExt as _;

use super::support::{Api, INVENTORY, PAYMENT, PLACED, journal_row};

/// Longer than any look at the journal takes; reached only when an event does not come.
const PATIENCE: Duration = Duration::from_secs(20);

struct Reading {
    body: Body,
    text: String,
}

impl Reading {
    async fn open(api: &Api, query: &str, last_event_id: Option<&str>) -> Self {
        let mut request = Request::get(format!("/v1/stream{query}"));
        if let Some(id) = last_event_id {
            request = request.header("last-event-id", id);
        }
        let response = api.router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self { body: response.into_body(), text: String::new() }
    }

    /// The lines `id: …` of the next `count` events.
    async fn ids(&mut self, count: usize) -> Vec<String> {
        let found = |text: &str| -> Vec<String> {
            text.lines().filter_map(|line| line.strip_prefix("id: ")).map(str::to_owned).collect()
        };
        while found(&self.text).len() < count {
            let frame = tokio::time::timeout(PATIENCE, self.body.frame()).await.expect("an event in time");
            let data = frame.expect("the stream goes on").unwrap().into_data().unwrap();
            self.text.push_str(std::str::from_utf8(&data).unwrap());
        }
        found(&self.text)
    }
}

fn write(api: &Api, position: i64, order_id: &str, step: usize) {
    api.store.journal.lock().unwrap().push(journal_row(position, order_id, 1, "E", step));
    api.desk.nudges.send_modify(|it| *it += 1);
}

#[tokio::test]
async fn a_client_that_comes_back_goes_on_where_it_was() {
    let api = Api::of(vec![]);
    for position in 1..=3 {
        write(&api, position, "101", PLACED);
    }
    let mut reading = Reading::open(&api, "", Some("1")).await;
    assert_eq!(reading.ids(2).await, ["2", "3"]);
    write(&api, 4, "101", PAYMENT);
    assert_eq!(reading.ids(3).await, ["2", "3", "4"]);
    assert!(reading.text.contains("event: event"));
    assert!(reading.text.contains("\"order_id\":\"101\""));
}

#[tokio::test]
async fn a_new_client_begins_now_and_sees_only_what_it_asked_for() {
    let api = Api::of(vec![]);
    write(&api, 1, "101", INVENTORY);
    let mut reading = Reading::open(&api, "?saga=order&order=101&step=inventory", None).await;
    write(&api, 2, "102", INVENTORY);
    write(&api, 3, "101", PAYMENT);
    write(&api, 4, "101", INVENTORY);
    assert_eq!(reading.ids(1).await, ["4"]);
}

#[tokio::test]
async fn a_pulse_says_that_something_came_and_not_what() {
    let api = Api::of(vec![]);
    write(&api, 1, "101", PLACED);
    let mut reading = Reading::open(&api, "?pulse=true", None).await;
    write(&api, 2, "101", PAYMENT);
    write(&api, 3, "102", PLACED);
    assert_eq!(reading.ids(1).await, ["3"]);
    write(&api, 4, "102", PAYMENT);
    assert_eq!(reading.ids(2).await, ["3", "4"]);
    assert!(reading.text.contains("event: pulse"));
    assert!(!reading.text.contains("order_id"));
    assert!(api.get("/v1/stream?pulse=true&saga=order").await.problem(400).contains("leave `saga`"));
}

#[tokio::test]
async fn streams_end_when_escrow_stops() {
    let api = Api::of(vec![]);
    let reading = Reading::open(&api, "", None).await;
    api.shutdown.cancel();
    tokio::time::timeout(PATIENCE, reading.body.collect()).await.expect("it ends in time").unwrap();
}

#[tokio::test]
async fn what_a_stream_does_not_know_is_refused() {
    let api = Api::of(vec![]);
    assert!(api.get("/v1/stream?step=inventroy").await.problem(400).contains("did you mean `inventory`"));
    assert!(api.get("/v1/stream?saga=x").await.problem(400).contains("saga"));
    assert!(api.get("/v1/stream?orders=1").await.problem(400).contains("did you mean `order`"));
    let request = Request::get("/v1/stream").header("last-event-id", "x").body(Body::empty()).unwrap();
    assert!(api.send(request).await.problem(400).contains("a number"));
}
