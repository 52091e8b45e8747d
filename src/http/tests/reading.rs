//! What the page reads beside the contract's calls: an entry with its message, what is due next, the traffic.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::support::{Api, FakeDesk, FakeStore, PLACED, ahead, journal_row, key, order};
use crate::http::state::ApiState;
use crate::saga::batch::StoredPayload;
use crate::saga::order::Status;
use crate::saga::time::Span;
use crate::store::StatusCount;

fn payload(body: Option<&[u8]>) -> StoredPayload {
    StoredPayload {
        salt: [0; 16],
        body: body.map(<[u8]>::to_vec),
        body_hash: [0xcd; 32],
        envelope: json!({"headers": {"x": "1"}}),
        exchange: "payment_exchange".to_owned(),
        routing_key: "k".to_owned(),
        message_id: "m2".to_owned(),
    }
}

#[tokio::test]
async fn an_entry_is_given_with_its_message_as_far_as_it_is_kept() {
    let mut kept = order("101");
    kept.sequence = 4;
    let payloads = BTreeMap::from([
        ((key("101"), 2), payload(Some(b"{\"event_type\":\"PaymentProcessed\"}"))),
        ((key("101"), 3), payload(Some(&[0xff, 0x00]))),
        ((key("101"), 4), payload(None)),
    ]);
    let api = Api::new(FakeStore { payloads, ..FakeStore::default() }, FakeDesk::default());
    api.store.orders.lock().unwrap().push(kept);
    let rows = (1..=4_i64).map(|at| journal_row(at, "101", at.cast_unsigned(), "E", PLACED));
    api.store.journal.lock().unwrap().extend(rows);

    let path = "/v1/sagas/order/orders/101/audit";
    let second = api.get(&format!("{path}/2")).await.json();
    assert_eq!(second["entry"]["sequence"], 2);
    assert_eq!(second["payload"]["body"], "{\"event_type\":\"PaymentProcessed\"}");
    assert_eq!(second["payload"]["envelope"]["headers"]["x"], "1");
    assert_eq!(second["payload"]["body_hash"], "cd".repeat(32));
    assert_eq!(api.get(&format!("{path}/1")).await.json()["payload"], Value::Null);
    let third = api.get(&format!("{path}/3")).await.json();
    assert_eq!((&third["payload"]["body"], &third["payload"]["body_base64"]), (&Value::Null, &json!("/wA=")));
    let fourth = api.get(&format!("{path}/4")).await.json();
    assert_eq!((&fourth["payload"]["body"], &fourth["payload"]["body_base64"]), (&Value::Null, &Value::Null));
    assert_eq!(fourth["payload"]["message_id"], "m2");

    for missing in ["0", "5", "-1", "x", "99999999999999999999"] {
        assert!(api.get(&format!("{path}/{missing}")).await.problem(404).contains("1 to 4"), "{missing}");
    }
    api.get("/v1/sagas/order/orders/none/audit/1").await.problem(404);
}

#[tokio::test]
async fn what_is_due_next_comes_soonest_first_and_within_what_was_asked() {
    let mut sooner = order("102");
    sooner.steps.iter_mut().for_each(|step| step.deadline = step.deadline.map(|_| ahead(5)));
    let api = Api::of(vec![order("101"), sooner]);
    let ids = |answer: &Value| -> Vec<String> {
        let orders = answer["orders"].as_array().unwrap();
        orders.iter().map(|it| it["order_id"].as_str().unwrap().to_owned()).collect()
    };
    let all = api.get("/v1/due").await.json();
    assert_eq!(ids(&all), ["102", "101"]);
    assert_eq!((&all["within"], &all["orders"][0]["next"]["step"]), (&json!("1h"), &json!("inventory")));
    assert_eq!(ids(&api.get("/v1/due?within=10s&saga=order").await.json()), ["102"]);
    assert_eq!(ids(&api.get("/v1/due?limit=1").await.json()), ["102"]);
    assert!(api.get("/v1/due?saga=ordre").await.problem(400).contains("order"));
}

#[tokio::test]
async fn an_id_is_found_by_its_beginning_the_exact_one_first() {
    let api = Api::of(["1", "10", "101", "102", "2", "é1"].map(order).to_vec());
    let found = async |query: &str| -> (Vec<String>, Value) {
        let answer = api.get(&format!("/v1/search?{query}")).await.json();
        let orders = answer["orders"].as_array().unwrap();
        (orders.iter().map(|it| it["order_id"].as_str().unwrap().to_owned()).collect(), answer["more"].clone())
    };
    assert_eq!(found("text=10").await, (vec!["10".to_owned(), "101".to_owned(), "102".to_owned()], json!(false)));
    assert_eq!(found("text=1&limit=2").await, (vec!["1".to_owned(), "10".to_owned()], json!(true)));
    assert_eq!(found("text=%C3%A9").await.0, ["é1"]);
    assert_eq!(found("text=3").await, (vec![], json!(false)));
    assert!(api.get("/v1/search").await.problem(400).contains("begins with"));
    assert_eq!(api.get("/v1/search?text=2").await.json()["orders"][0]["status"], "running");
}

#[tokio::test]
async fn the_traffic_is_what_the_looks_at_it_found() {
    let (store, desk) = (FakeStore::default(), FakeDesk::default());
    let metrics = std::sync::Arc::default();
    let state = ApiState::new(std::sync::Arc::new(store), std::sync::Arc::new(desk), metrics, CancellationToken::new());
    let api = Api { router: crate::http::router(state.clone()), ..Api::of(vec![]) };
    let nothing = api.get("/v1/flow").await.json();
    assert_eq!(nothing, json!({"points": [], "begun_per_minute": null, "ended_per_minute": null}));
    for (look, ended) in [(0, 0), (1, 4)] {
        let count = |status, count| StatusCount { saga: "order".to_owned(), status, count };
        let at = ahead(0) + Span::from_secs(30 * look);
        state.flow.look(at, &[count(Status::Running, 6), count(Status::Failed, ended)]);
    }
    let shown = api.get("/v1/flow?saga=order").await.json();
    assert_eq!((&shown["begun_per_minute"], &shown["ended_per_minute"]), (&json!(8.0), &json!(8.0)));
    assert_eq!(shown["points"][0]["ended"], 4);
    assert!(api.get("/v1/flow?saga=x").await.problem(400).contains("saga"));
}
