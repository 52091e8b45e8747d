//! Orders: list, one, trail, actions.

use axum::body::Body;
use axum::http::Request;
use serde_json::{Value, json};

use super::support::{Api, INVENTORY, NOW, PLACED, ago, journal_row, order};
use crate::saga::input::Action;
use crate::saga::order::{Need, Status, StepStatus, StuckReason};
use crate::saga::time::Span;

#[tokio::test]
async fn an_order_answers_with_the_fields_of_the_contract() {
    let api = Api::of(vec![order("101")]);
    let body = api.get("/v1/sagas/order/orders/101").await.json();
    for field in [
        "saga",
        "order_id",
        "version",
        "status",
        "progress",
        "waiting_on",
        "steps",
        "stuck",
        "next",
        "attributes",
        "unproven",
        "created_at",
        "updated_at",
        "sequence",
        "as_of",
        "why",
    ] {
        assert!(body.get(field).is_some(), "{field} is missing");
    }
    assert_eq!(body["progress"], json!({"done": 2, "total": 4}));
    assert_eq!(body["attributes"], json!({"customer": "John Doe"}));
    assert_eq!(body["as_of"], "2026-11-21T09:29:59Z");
    assert_eq!(body["stuck"], Value::Null);
    let wait = &body["waiting_on"][0];
    assert_eq!((&wait["step"], &wait["events"]), (&json!("inventory"), &json!(["InventoryReserved"])));
    assert_eq!((&wait["overdue"], &wait["due"]), (&json!(false), &json!(false)));
    assert_eq!(wait["deadline"], "2026-11-21T09:30:18Z");
    assert_eq!(body["next"], json!({"at": "2026-11-21T09:30:18Z", "step": "inventory", "action": "retry"}));
    assert_eq!(body["steps"][1]["event"], "PaymentProcessed");
    assert!(body["why"].as_str().unwrap().starts_with("waiting 42s for InventoryReserved"));
}

#[tokio::test]
async fn a_wait_is_due_until_the_watermark_has_passed_its_deadline() {
    for (seconds, due, overdue) in [(0, true, false), (1, false, true), (30, false, true)] {
        let mut late = order("101");
        late.steps[INVENTORY].deadline = Some(ago(seconds));
        let wait = Api::of(vec![late]).get("/v1/sagas/order/orders/101").await.json()["waiting_on"][0].clone();
        assert_eq!((&wait["due"], &wait["overdue"]), (&json!(due), &json!(overdue)), "{seconds} s ago");
    }
}

#[tokio::test]
async fn a_stuck_order_names_its_incident_and_the_filter_finds_it() {
    let mut stuck = order("101");
    stuck.life.status = Status::Stuck;
    stuck.life.needs = vec![Need { reason: StuckReason::TimedOut, step: Some(INVENTORY), since: ago(5), detail: None }];
    stuck.steps[INVENTORY].status = StepStatus::TimedOut;
    stuck.steps[INVENTORY].deadline = None;
    let api = Api::of(vec![stuck]);
    let body = api.get("/v1/sagas/order/orders/101").await.json();
    assert_eq!(body["stuck"]["reason"], "timed_out");
    assert_eq!(body["waiting_on"][0]["overdue"], true);
    assert_eq!(body["waiting_on"][0]["deadline"], "2026-11-21T09:30:18Z");
    assert_eq!(body["next"], Value::Null, "nothing happens by itself");
    let id = body["stuck"]["incident"].as_str().unwrap();
    assert_eq!(api.get(&format!("/v1/orders?incident={id}")).await.status, 200);
    let asked = api.store.asked.lock().unwrap()[0].clone();
    assert_eq!((asked.sagas, asked.reasons), (vec!["order".to_owned()], vec![StuckReason::TimedOut]));
    assert_eq!(asked.stuck_step.as_deref(), Some("inventory"));
    assert!(api.get("/v1/orders?incident=nothing").await.problem(400).contains("no such incident"));
    assert!(api.get(&format!("/v1/orders?incident={id}&reason=held")).await.problem(400).contains("not of that"));
}

#[tokio::test]
async fn order_ids_of_any_text_make_the_round_trip() {
    for id in ["a/b", "100%", "a%2Fb", "x\r\ny", "ümläut 1", "?q=1#f", "..a", "order/7"] {
        let api = Api::of(vec![order(id)]);
        let encoded: String = percent_encoding::utf8_percent_encode(id, percent_encoding::NON_ALPHANUMERIC).collect();
        let path = format!("/v1/sagas/order/orders/{encoded}");
        assert_eq!(api.get(&path).await.json()["order_id"], *id);
        assert_eq!(api.get(&format!("{path}/audit")).await.status, 200);
        let answer = api.post(&format!("{path}/actions"), &json!({"action": "note", "reason": "r"})).await;
        assert_eq!(answer.status, 202, "{}", answer.text);
        assert_eq!(api.desk.asks.lock().unwrap()[0].key.order_id, id);
    }
    let bad = Api::of(vec![]).get("/v1/sagas/order/orders/%FF").await;
    assert!(bad.problem(400).contains("cannot be read"));
}

#[tokio::test]
async fn the_list_pages_counts_and_filters() {
    let api = Api::of((0..5).map(|it| order(&it.to_string())).collect());
    let first = api.get("/v1/orders?limit=2&count=true").await.json();
    assert_eq!(first["orders"].as_array().unwrap().len(), 2);
    assert_eq!((&first["next_cursor"], &first["count"]), (&json!("2"), &json!(5)));
    let last = api.get("/v1/orders?limit=2&cursor=4").await.json();
    assert_eq!((&last["next_cursor"], &last["count"]), (&Value::Null, &Value::Null));
    let query = "status=running,stuck&saga=order&waiting_on=inventory&reason=held&older_than=10m&attr.customer=A%20B";
    assert_eq!(api.get(&format!("/v1/orders?{query}&order_id=3&stuck_on=payment")).await.status, 200);
    let asked = api.store.asked.lock().unwrap().last().unwrap().clone();
    assert_eq!(asked.statuses, [Status::Running, Status::Stuck]);
    assert_eq!(asked.older_than, Some(Span::from_secs(600)));
    assert_eq!(asked.attributes, [("customer".to_owned(), "A B".to_owned())]);
    assert_eq!((asked.order_id.as_deref(), asked.stuck_step.as_deref()), (Some("3"), Some("payment")));
    assert!(Api::of(vec![]).get("/v1/orders").await.json()["orders"].as_array().unwrap().is_empty());
}

#[tokio::test]
async fn a_filter_that_is_not_understood_is_refused_and_names_what_was_meant() {
    let api = Api::of(vec![]);
    for (query, part) in [
        ("statsu=running", "did you mean `status`"),
        ("status=runing", "did you mean `running`"),
        ("saga=ordre", "did you mean `order`"),
        ("waiting_on=inventroy", "did you mean `inventory`"),
        ("stuck_on=paymnt", "did you mean `payment`"),
        ("reason=timedout", "did you mean `timed_out`"),
        ("attr.custmer=x", "did you mean `customer`"),
        ("older_than=soon", "is not a duration"),
        ("count=maybe", "neither"),
        ("limit=501", "1 to 500"),
        ("status=running&status=stuck", "twice"),
        ("cursor=zzz", "begin again"),
    ] {
        let detail = api.get(&format!("/v1/orders?{query}")).await.problem(400);
        assert!(detail.contains(part), "{query}: {detail}");
    }
}

#[tokio::test]
async fn what_is_not_there_is_a_404_that_says_so() {
    let api = Api::of(vec![]);
    assert!(api.get("/v1/sagas/ordre/orders/1").await.problem(404).contains("did you mean `order`"));
    assert!(api.get("/v1/sagas/order/orders/4711").await.problem(404).contains("no order `4711`"));
    assert!(api.get("/v1/sagas/order/orders/4711/audit").await.problem(404).contains("4711"));
    assert!(api.get("/v1/sagas/order/orders/4711?x=1").await.problem(400).contains('x'));
}

#[tokio::test]
async fn the_trail_is_paged_by_sequence() {
    let api = Api::of(vec![order("101")]);
    *api.store.journal.lock().unwrap() =
        (1..=3).map(|at| journal_row(at, "101", at.unsigned_abs(), "OrderPlaced", PLACED)).collect();
    let first = api.get("/v1/sagas/order/orders/101/audit?limit=2").await.json();
    assert_eq!(first["next_cursor"], "2");
    let entry = &first["entries"][0];
    assert_eq!(entry["changes"], json!([{"step": "placed", "from": "waiting", "to": "done"}]));
    assert_eq!(entry["message"]["exchange"], "order_exchange");
    for field in ["sequence", "at", "kind", "name", "published", "actor", "reason", "inferred", "hash"] {
        assert!(entry.get(field).is_some(), "{field}");
    }
    let last = api.get("/v1/sagas/order/orders/101/audit?limit=2&cursor=2").await.json();
    assert_eq!((last["entries"].as_array().unwrap().len(), &last["next_cursor"]), (1, &Value::Null));
    assert!(api.get("/v1/sagas/order/orders/101/audit?cursor=x").await.problem(400).contains("cursor"));
}

#[tokio::test]
async fn an_action_carries_who_why_and_its_key_told_apart_by_order() {
    let api = Api::of(vec![]);
    let send = async |order_id: &str| {
        let request = Request::post(format!("/v1/sagas/order/orders/{order_id}/actions"))
            .header("content-type", "application/json; charset=utf-8")
            .header("x-escrow-actor", "jo")
            .header("idempotency-key", "k1")
            .body(Body::from(json!({"action":"extend","step":"inventory","by":"30m","reason":" slow "}).to_string()));
        api.send(request.unwrap()).await
    };
    let answer = send("101").await;
    assert_eq!((answer.status.as_u16(), answer.json()), (202, json!({"sequence": 8})));
    send("102").await;
    send("101").await;
    let asks = api.desk.asks.lock().unwrap();
    assert_eq!(asks[0].action, Action::Extend(Span::from_secs(1800)));
    assert_eq!((asks[0].actor.as_str(), asks[0].reason.as_str()), ("jo", "slow"));
    assert_eq!(asks[0].step.as_deref(), Some("inventory"));
    assert_eq!(asks[0].idempotency_key, asks[2].idempotency_key);
    assert_ne!(asks[0].idempotency_key, asks[1].idempotency_key);
}

#[tokio::test]
async fn an_action_that_is_not_right_is_refused_with_what_is() {
    let api = Api::of(vec![]);
    for (order_id, body, status, part) in [
        ("1", json!({"action": "rety", "reason": "r"}), 400, "did you mean `retry`"),
        ("1", json!({"action": "retry"}), 400, "say why"),
        ("1", json!({"action": "retry", "reason": "  "}), 400, "say why"),
        ("1", json!({"action": "extend", "reason": "r"}), 400, "needs `by`"),
        ("1", json!({"action": "extend", "by": "0s", "reason": "r"}), 400, "longer than nothing"),
        ("1", json!({"action": "skip", "by": "3m", "reason": "r"}), 400, "takes no `by`"),
        ("1", json!({"action": "skip", "step": "inventroy", "reason": "r"}), 400, "did you mean `inventory`"),
        ("1", json!({"action": "skip", "raeson": "r"}), 400, "raeson"),
        ("missing", json!({"action": "retry", "reason": "r"}), 404, "no such order"),
        ("ended", json!({"action": "retry", "reason": "r"}), 409, "completed"),
        ("observed", json!({"action": "retry", "reason": "r"}), 409, "observe"),
        ("old", json!({"action": "skip", "step": "notification", "reason": "r"}), 400, "no step"),
    ] {
        let detail = api.post(&format!("/v1/sagas/order/orders/{order_id}/actions"), &body).await.problem(status);
        assert!(detail.contains(part), "{body}: {detail}");
    }
    let form = Request::post("/v1/sagas/order/orders/1/actions").body(Body::from("{}")).unwrap();
    assert!(api.send(form).await.problem(415).contains("application/json"));
    let large = Request::post("/v1/sagas/order/orders/1/actions")
        .header("content-type", "application/json")
        .body(Body::from(vec![b' '; (2 << 20) + 1]))
        .unwrap();
    assert!(api.send(large).await.problem(413).contains("larger"));
    let wild = Request::post("/v1/sagas/order/orders/1/actions")
        .header("content-type", "application/json")
        .header("x-escrow-actor", "x".repeat(300))
        .body(Body::from("{}"))
        .unwrap();
    assert!(api.send(wild).await.problem(400).contains("x-escrow-actor"));
}

#[tokio::test]
async fn an_order_whose_version_is_not_here_is_still_shown() {
    let mut strange = order("101");
    strange.version = 9;
    let body = Api::of(vec![strange]).get("/v1/orders").await.json();
    assert_eq!(body["orders"][0]["steps"][2]["step"], "#2");
    assert!(body["orders"][0]["why"].as_str().unwrap().contains("version 9"));
    assert_eq!(body["orders"][0]["created_at"], (NOW - Span::from_secs(42)).rfc3339());
}
