//! Sagas, journal, status, quarantine, events, health, and what surrounds every call.

use axum::body::Body;
use axum::http::Request;
use serde_json::{Value, json};

use super::support::{Api, FakeDesk, FakeStore, INVENTORY, PAYMENT, ago, journal_row, saga};
use crate::http::state::BusReport;
use crate::saga::definition::{Mode, Place, Read, Watch};
use crate::saga::order::StuckReason;
use crate::saga::time::Span;
use crate::store::{QuarantineRow, StepStats, StuckGroup};

#[tokio::test]
async fn sagas_are_listed_and_shown_with_their_definition() {
    let api = Api::of(vec![]);
    let list = api.get("/v1/sagas").await.json();
    assert_eq!(list["sagas"][0]["steps"], json!(["placed", "payment", "inventory", "notification"]));
    assert_eq!(list["sagas"][0]["unbound"], json!({"stock": "it does not exist yet"}));
    let one = api.get("/v1/sagas/order").await.json();
    assert_eq!((&one["mode"], &one["sight"], &one["text"]), (&json!("act"), &json!("live"), &json!("saga: order\n")));
    assert_eq!(one["definition"][2]["within"], "1m");
    assert_eq!(one["definition"][1]["compensation"], "RefundPayment");
    assert_eq!(one["versions"][0]["open_orders"], 3);
    assert_eq!(api.get("/v1/sagas/order?version=1").await.json()["shown_version"], 1);
    assert!(api.get("/v1/sagas/order?version=9").await.problem(400).contains("there is: 1"));
    assert!(api.get("/v1/sagas/order/stats?version=x").await.problem(400).contains("there is: 1"));
    assert!(api.get("/v1/sagas/oder").await.problem(404).contains("did you mean `order`"));
    assert!(api.get("/v1/sagas?limit=0").await.problem(400).contains("limit"));
}

#[tokio::test]
async fn statistics_need_thirty_samples() {
    let row = |step: &str, samples| StepStats {
        saga: "order".to_owned(),
        version: 1,
        step: step.to_owned(),
        closed: 40,
        timed_out: 4,
        samples,
        p50: Span::from_millis(1200),
        p95: Span::from_secs(3),
        p99: Span::from_secs(4),
    };
    let group = StuckGroup {
        saga: "order".to_owned(),
        step: Some("inventory".to_owned()),
        reason: StuckReason::TimedOut,
        count: 7,
        first_at: ago(60),
        last_at: ago(2),
        samples: vec!["101".to_owned()],
    };
    let store = FakeStore {
        stats: vec![row("payment", 30), row("inventory", 29)],
        groups: vec![group],
        ..FakeStore::default()
    };
    let api = Api::new(store, FakeDesk::default());
    let stats = api.get("/v1/sagas/order/stats?window=1h").await.json();
    assert_eq!(stats["steps"][PAYMENT]["p50"], 1.2);
    assert_eq!((&stats["steps"][INVENTORY]["samples"], &stats["steps"][INVENTORY]["p50"]), (&json!(29), &Value::Null));
    assert_eq!((&stats["steps"][PAYMENT]["closed"], &stats["steps"][PAYMENT]["timed_out"]), (&json!(40), &json!(4)));
    assert_eq!((&stats["steps"][PAYMENT]["stuck"], &stats["steps"][INVENTORY]["stuck"]), (&json!(0), &json!(7)));
    assert_eq!((&stats["window"], &stats["orders"]), (&json!("1h"), &json!({"running": 3})));
    assert!(api.get("/v1/sagas/order/stats?window=x").await.problem(400).contains("duration"));
    assert_eq!(api.get("/v1/sagas/nothing/stats").await.status, 404);
}

#[tokio::test]
async fn the_mode_is_changed_with_a_reason() {
    let api = Api::of(vec![]);
    let body = json!({"mode": "observe", "reason": "migration"});
    let answer = api.json("PUT", "/v1/sagas/order/mode", &body).await;
    assert_eq!(answer.json(), json!({"saga": "order", "mode": "observe"}));
    let (saga, mode, actor, reason) = api.desk.modes.lock().unwrap()[0].clone();
    assert_eq!(
        (saga.as_str(), mode, actor.as_str(), reason.as_str()),
        ("order", Mode::Observe, "anonymous", "migration")
    );
    for (body, part) in
        [(json!({"mode": "obsrve", "reason": "r"}), "did you mean"), (json!({"mode": "act"}), "say why")]
    {
        assert!(api.json("PUT", "/v1/sagas/order/mode", &body).await.problem(400).contains(part));
    }
    assert_eq!(api.json("PUT", "/v1/sagas/x/mode", &body).await.status, 404);
}

#[tokio::test]
async fn the_version_that_opens_orders_is_chosen_with_a_reason() {
    let api = Api::of(vec![]);
    let answer = api.json("PUT", "/v1/sagas/order/version", &json!({"version": 1, "reason": "2 is broken"})).await;
    assert_eq!(answer.json(), json!({"saga": "order", "version": 1, "opens": 1}));
    assert_eq!(api.desk.versions.lock().unwrap()[0], ("order".to_owned(), 1));
    let unknown = json!({"version": 9, "reason": "r"});
    assert!(api.json("PUT", "/v1/sagas/order/version", &unknown).await.problem(409).contains("no version 9"));
    assert!(api.json("PUT", "/v1/sagas/order/version", &json!({"version": 1})).await.problem(400).contains("say why"));
}

#[tokio::test]
async fn a_page_of_orders_is_moved_and_counted() {
    let api = Api::of(vec![]);
    let body = json!({"from": 1, "to": 2, "dry_run": true, "reason": "mended"});
    let answer = api.post("/v1/sagas/order/migrate?waiting_on=payment&limit=7", &body).await.json();
    assert_eq!(answer["counts"], json!({"moved": 1, "already": 0, "refused": 1, "due": 1, "unproven": 1}));
    assert_eq!((&answer["dry_run"], &answer["next_cursor"]), (&json!(true), &json!("second")));
    let (moved, refused) = (&answer["orders"][0], &answer["orders"][1]);
    assert_eq!(
        (&moved["outcome"], &moved["sequence"], &moved["missed"]),
        (&json!("moved"), &json!(7), &json!(["Cleared"]))
    );
    assert_eq!(moved["changes"][1], json!({"step": "fraud", "from": null, "to": "waiting"}));
    assert_eq!((&moved["deadlines"][0]["step"], &moved["deadlines"][0]["due"]), (&json!("fraud"), &json!(true)));
    assert_eq!((&moved["deadlines"][1]["step"], &moved["deadlines"][1]["of"]), (&Value::Null, &json!("order")));
    assert_eq!((&refused["outcome"], &refused["why"]), (&json!("refused"), &json!("step gift is waiting")));
    let (migration, filter, page) = api.desk.migrations.lock().unwrap()[0].clone();
    assert_eq!((migration.from, migration.to, migration.dry_run, migration.rearm), (1, 2, true, false));
    assert_eq!((filter.waiting_on, page.limit), (vec!["payment".to_owned()], 7));
    for (query, body, part) in [
        ("?saga=order", body.clone(), "saga"),
        ("", json!({"from": 1, "to": 2}), "say why"),
        ("", json!({"from": 1, "too": 2, "reason": "r"}), "too"),
    ] {
        let path = format!("/v1/sagas/order/migrate{query}");
        assert!(api.post(&path, &body).await.problem(400).contains(part), "{query} {body}");
    }
    assert_eq!(api.post("/v1/sagas/x/migrate", &body).await.status, 404);
}

#[tokio::test]
async fn the_journal_is_filtered_by_words_it_knows() {
    let api = Api::of(vec![]);
    api.store.journal.lock().unwrap().push(journal_row(1, "101", 1, "OrderPlaced", 0));
    let list = api.get("/v1/journal?kind=event,late&saga=order&since=2026-11-21T00:00:00Z&actor=jo").await.json();
    assert_eq!(list["entries"][0]["order_id"], "101");
    assert!(api.get("/v1/journal?kind=comand").await.problem(400).contains("did you mean `command`"));
    assert!(api.get("/v1/journal?until=noon").await.problem(400).contains("is no time"));
    assert!(api.get("/v1/journal?saga=x").await.problem(400).contains("saga"));
    assert!(api.get("/v1/journal?kinds=event").await.problem(400).contains("did you mean `kind`"));
}

#[tokio::test]
async fn status_says_how_escrow_is() {
    let bus = BusReport {
        consuming_connected: true,
        tap_depth: Some(7),
        lag: Some(Span::from_millis(1500)),
        ..BusReport::default()
    };
    let api = Api::new(FakeStore::default(), FakeDesk { bus: Some(bus), ..FakeDesk::default() });
    let body = api.get("/v1/status").await.json();
    assert_eq!((&body["bus"]["tap_depth"], &body["bus"]["lag_seconds"]), (&json!(7), &json!(1.5)));
    assert_eq!(body["outbox"], json!({"rows": 2, "oldest_at": "2026-11-21T09:29:57Z"}));
    assert_eq!(body["sagas"][0]["orders"], json!({"running": 3}));
    assert!(api.get("/v1/status?verbose=1").await.problem(400).contains("verbose"));
}

fn quarantined(id: i64, body: &[u8]) -> QuarantineRow {
    QuarantineRow {
        id,
        at: ago(9),
        reason: "no_order_id".to_owned(),
        detail: "/data/order_id is absent".to_owned(),
        saga: Some("order".to_owned()),
        event: Some("OrderPlaced".to_owned()),
        order_id: None,
        exchange: "order_exchange".to_owned(),
        routing_key: String::new(),
        envelope: json!({"headers": {}}),
        body: body.to_vec(),
        body_bytes: body.len() as u64,
        resolved: None,
        resolved_by: None,
        resolved_reason: None,
    }
}

#[tokio::test]
async fn quarantine_is_looked_at_replayed_and_dropped() {
    let long = vec![b'a'; 5000];
    let store = FakeStore {
        quarantine: vec![quarantined(1, &long), quarantined(2, &[0xff])],
        reasons: vec![("no_order_id".to_owned(), 2)],
        ..FakeStore::default()
    };
    let api = Api::new(store, FakeDesk::default());
    let list =
        api.get("/v1/quarantine?reason=no_order_id&saga=order&resolved=true&exchange=order_exchange").await.json();
    assert_eq!(list["messages"][0]["body"].as_str().unwrap().len(), 2048);
    assert_eq!((&list["messages"][1]["body"], &list["messages"][1]["body_base64"]), (&Value::Null, &json!("/w==")));
    assert_eq!(api.get("/v1/quarantine/1").await.json()["body"].as_str().unwrap().len(), 5000);
    let reasons = api.get("/v1/quarantine/reasons").await.json();
    assert_eq!(reasons, json!({"reasons": [{"reason": "no_order_id", "count": 2}]}));
    assert!(api.get("/v1/quarantine/77").await.problem(404).contains("`77`"));
    assert!(api.get("/v1/quarantine/x").await.problem(404).contains("`x`"));
    assert!(api.get("/v1/quarantine?reason=no_orderid").await.problem(400).contains("did you mean `no_order_id`"));
    let reason = json!({"reason": "mended"});
    let answer = api.post("/v1/quarantine/1/replay", &json!({"reason": "mended", "order_id": "101"})).await;
    assert_eq!((answer.status.as_u16(), answer.json()), (202, json!({"id": 1, "resolved": "replayed"})));
    assert_eq!(api.post("/v1/quarantine/1/drop", &reason).await.json()["resolved"], "dropped");
    assert!(api.post("/v1/quarantine/2/drop", &reason).await.problem(409).contains("already"));
    assert_eq!(api.post("/v1/quarantine/3/replay", &reason).await.status, 404);
    assert!(api.post("/v1/quarantine/1/drop", &json!({})).await.problem(400).contains("say why"));
    let empty = json!({"reason": "r", "order_id": ""});
    assert!(api.post("/v1/quarantine/1/replay", &empty).await.problem(400).contains("1 to 256"));
}

fn event(id: &str) -> Value {
    json!({"specversion": "1.0", "id": id, "source": "/shop", "type": "OrderPlaced", "subject": "a/b"})
}

async fn send_events(api: &Api, content_type: &str, body: String) -> super::support::Answer {
    let request = Request::post("/v1/events").header("content-type", content_type).body(Body::from(body)).unwrap();
    api.send(request).await
}

#[tokio::test]
async fn events_answer_202_once_they_are_committed() {
    let api = Api::of(vec![]);
    let answer = send_events(&api, "application/cloudevents+json", event("1").to_string()).await;
    assert_eq!((answer.status.as_u16(), answer.json()), (202, json!({"accepted": 1})));
    let batch = json!([event("2"), event("3")]).to_string();
    assert_eq!(send_events(&api, "application/cloudevents-batch+json", batch).await.json()["accepted"], 2);
    assert_eq!(api.desk.submitted.lock().unwrap().len(), 3);
    assert_eq!(send_events(&api, "application/cloudevents-batch+json", "[]".to_owned()).await.status, 202);
    let half = json!([event("4"), {"specversion": "1.0"}]).to_string();
    let answer = send_events(&api, "application/cloudevents-batch+json", half).await;
    assert_eq!(answer.json()["errors"][0]["pointer"], "/1/id");
    assert_eq!(api.desk.submitted.lock().unwrap().len(), 3, "nothing of a batch with a fault is taken");
    let busy = send_events(&api, "application/cloudevents+json", event("busy").to_string()).await;
    assert!(busy.problem(503).contains("stopping"));
    assert_eq!(busy.headers["retry-after"], "1");
    let large = "x".repeat((16 << 20) + 1);
    assert!(send_events(&api, "application/cloudevents+json", large).await.problem(413).contains("larger"));
}

#[tokio::test]
async fn plain_json_is_taken_where_a_definition_reads_it() {
    let plain = json!({"event_type": "OrderPlaced", "order": 7}).to_string();
    assert_eq!(send_events(&Api::of(vec![]), "application/json", plain.clone()).await.status, 400);
    let mut saga = saga();
    let order_id = crate::saga::definition::OrderIdFrom::Arrival;
    saga.watch.push(Watch { place: Place::Http, read: Read { event: vec![], order_id, id: vec![], preset: None } });
    let catalog = std::sync::Arc::new([std::sync::Arc::new(saga)].into_iter().collect());
    let api = Api::new(FakeStore::default(), FakeDesk { catalog, ..FakeDesk::default() });
    assert_eq!(send_events(&api, "application/json", plain.clone()).await.status, 202);
    assert_eq!(api.desk.submitted.lock().unwrap()[0].body, plain.as_bytes());
}

#[tokio::test]
async fn readiness_follows_database_and_broker_and_liveness_does_not() {
    let connected = BusReport { consuming_connected: true, publishing_connected: true, ..BusReport::default() };
    let half = BusReport { publishing_connected: false, ..connected.clone() };
    for (is_away, bus, status, broker) in [
        (false, None, 200, "none"),
        (false, Some(connected.clone()), 200, "connected"),
        (false, Some(half), 503, "away"),
        (true, Some(connected), 503, "connected"),
    ] {
        let store = FakeStore { is_away, ..FakeStore::default() };
        let api = Api::new(store, FakeDesk { bus, ..FakeDesk::default() });
        let answer = api.get("/readyz").await;
        assert_eq!((answer.status.as_u16(), &answer.json()["broker"]), (status, &json!(broker)));
        assert_eq!(api.get("/livez").await.text, "ok\n");
        assert_eq!(api.get("/metrics").await.status, 200);
        if is_away {
            let answer = api.get("/v1/orders").await;
            assert!(answer.problem(503).contains("database"));
            assert_eq!(answer.headers["retry-after"], "1");
        }
    }
}

#[tokio::test]
async fn a_database_that_only_reads_is_not_ready() {
    let refusal = Some("it is a standby".to_owned());
    let api = Api::new(FakeStore::default(), FakeDesk { refusal, ..FakeDesk::default() });
    let answer = api.get("/readyz").await;
    assert_eq!((answer.status.as_u16(), &answer.json()["database"]), (503, &json!("refusing")));
}

#[tokio::test]
async fn metrics_name_routes_and_never_orders() {
    let api = Api::of(vec![]);
    api.get("/v1/sagas/order/orders/secret-4711").await;
    api.get("/nothing/secret-4711").await;
    let answer = api.get("/metrics").await;
    assert!(answer.headers["content-type"].to_str().unwrap().starts_with("application/openmetrics-text"));
    let counted = "_count{route=\"/v1/sagas/{saga}/orders/{order_id}\",method=\"GET\",code=\"404\"} 1";
    assert!(answer.text.contains(counted), "{}", answer.text);
    assert!(answer.text.contains("escrow_orders{saga=\"order\",status=\"running\"} 3"));
    assert!(!answer.text.contains("secret-4711"));
    assert!(answer.text.ends_with("# EOF\n"));
}

#[tokio::test]
async fn every_answer_is_guarded_and_a_panic_is_a_problem() {
    let api = Api::of(vec![]);
    assert!(api.get("/v1/order").await.problem(404).contains("did you mean `/v1/orders`"));
    assert!(api.json("DELETE", "/v1/orders", &json!({})).await.problem(405).contains("DELETE"));
    let panicked = api.post("/v1/quarantine/666/drop", &json!({"reason": "r"})).await;
    assert!(!panicked.problem(500).contains("a handler that fails"));
    for path in ["/v1/orders", "/nothing", "/docs", "/livez"] {
        let answer = api.get(path).await;
        assert_eq!(answer.headers["x-content-type-options"], "nosniff", "{path}");
        assert!(answer.headers["content-security-policy"].to_str().unwrap().contains("default-src 'none'"));
        assert!(answer.headers.contains_key("x-request-id"), "{path}");
    }
    let named = Request::get("/livez").header("x-request-id", "abc").body(Body::empty()).unwrap();
    assert_eq!(api.send(named).await.headers["x-request-id"], "abc");
}

#[tokio::test]
async fn the_doctor_says_what_to_mend() {
    let api = Api::of(vec![]);
    let checkup = api.get("/v1/doctor").await.json();
    assert_eq!(
        (&checkup["problems"], &checkup["warnings"], &checkup["at"]),
        (&json!(1), &json!(1), &json!(ago(1).rfc3339()))
    );
    let first = json!({"level": "problem", "area": "broker", "what": "it is away", "advice": "start it"});
    assert_eq!((&checkup["findings"][0], &checkup["findings"][2]["advice"]), (&first, &Value::Null));
    assert!(api.get("/v1/doctor?now=1").await.problem(400).contains("now"));
}
