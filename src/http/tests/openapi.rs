//! The document against the router that answers.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::support::{Api, FakeDesk, FakeStore, ago, bulk, journal_row, key, order};
use crate::http::state::BusReport;
use crate::saga::input::Action;
use crate::saga::order::{Need, Status, StuckReason};
use crate::saga::time::Span;
use crate::store::{BulkAsk, BulkOrder, BulkOutcome, OrderFilter, QuarantineRow};

/// An action on many orders that is there.
const BULK: &str = "00000000-0000-0000-0000-000000000001";

fn operations(document: &Value) -> Vec<(String, String, &Value)> {
    let paths = document["paths"].as_object().unwrap();
    let each = paths.iter().flat_map(|(path, item)| {
        item.as_object().unwrap().iter().map(move |(method, it)| (path.clone(), method.clone(), it))
    });
    each.collect()
}

fn api() -> Api {
    let mut stuck = order("102");
    stuck.life.status = Status::Stuck;
    stuck.life.needs = vec![Need { reason: StuckReason::Failed, step: Some(1), since: ago(9), detail: None }];
    stuck.steps[1].undo.round = 1;
    let incident = super::incidents::silent();
    let message = QuarantineRow {
        id: 1,
        at: ago(1),
        reason: "unreadable".to_owned(),
        detail: "not JSON".to_owned(),
        saga: None,
        event: None,
        order_id: None,
        exchange: "x".to_owned(),
        routing_key: String::new(),
        envelope: json!({}),
        body: b"{".to_vec(),
        body_bytes: 1,
        resolved: None,
        resolved_by: None,
        resolved_reason: None,
    };
    let id = BULK.parse().unwrap();
    let ask = BulkAsk {
        filter: OrderFilter::default(),
        given: BTreeMap::from([("saga".to_owned(), "order".to_owned())]),
        action: Action::Note,
        step: None,
        actor: "ann".to_owned(),
        reason: "r".to_owned(),
        every: Span::from_millis(100),
        named: 0,
    };
    let done = BulkOrder { place: 1, key: key("101"), outcome: Some(BulkOutcome::Done(2)), at: Some(ago(1)) };
    let bulks = vec![bulk(id, ask.clone())];
    let (quarantine, incidents, bulk_orders) = (vec![message], vec![incident.clone()], vec![done]);
    let store = FakeStore { quarantine, incidents, bulks, bulk_orders, ..FakeStore::default() };
    store.orders.lock().unwrap().extend([order("101"), stuck]);
    store.journal.lock().unwrap().push(journal_row(1, "101", 1, "OrderPlaced", 0));
    let bus = BusReport { consuming_connected: true, publishing_connected: true, ..BusReport::default() };
    let desk = FakeDesk { bus: Some(bus), ..FakeDesk::default() };
    desk.bulks.lock().unwrap().push((id, ask));
    desk.acked.lock().unwrap().push(incident);
    Api::new(store, desk)
}

#[tokio::test]
async fn every_route_of_the_contract_is_described_under_a_name_of_its_own() {
    let document = api().get("/openapi.json").await.json();
    let described: BTreeSet<String> =
        operations(&document).into_iter().map(|(path, method, _)| format!("{method} {path}")).collect();
    let wanted = [
        "get /v1/orders",
        "get /v1/sagas/{saga}/orders/{order_id}",
        "get /v1/sagas/{saga}/orders/{order_id}/audit",
        "get /v1/sagas/{saga}/orders/{order_id}/audit/{sequence}",
        "get /v1/due",
        "get /v1/search",
        "get /v1/flow",
        "get /v1/doctor",
        "post /v1/sagas/{saga}/orders/{order_id}/actions",
        "post /v1/actions",
        "get /v1/actions",
        "get /v1/actions/{id}",
        "post /v1/actions/{id}/stop",
        "get /v1/sagas",
        "get /v1/sagas/{saga}",
        "get /v1/sagas/{saga}/stats",
        "get /v1/sagas/{saga}/events",
        "put /v1/sagas/{saga}/mode",
        "put /v1/sagas/{saga}/version",
        "post /v1/sagas/{saga}/migrate",
        "post /v1/sagas/{saga}/brake/reset",
        "get /v1/incidents",
        "get /v1/incidents/{id}",
        "post /v1/incidents/{id}/ack",
        "get /v1/journal",
        "get /v1/status",
        "get /v1/quarantine",
        "get /v1/quarantine/reasons",
        "get /v1/quarantine/{id}",
        "post /v1/quarantine/{id}/replay",
        "post /v1/quarantine/{id}/drop",
        "post /v1/events",
        "get /v1/stream",
        "get /v1/session",
        "post /v1/session",
        "delete /v1/session",
        "get /livez",
        "get /readyz",
        "get /metrics",
        "get /openapi.json",
        "get /docs",
    ];
    assert_eq!(described, wanted.iter().map(|it| (*it).to_owned()).collect());
    let ids: BTreeSet<&str> =
        operations(&document).iter().map(|(_, _, it)| it["operationId"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), wanted.len());
}

#[tokio::test]
async fn every_described_answer_is_what_the_router_gives() {
    let api = api();
    let document = api.get("/openapi.json").await.json();
    let mut checked = 0;
    for (path, method, operation) in operations(&document) {
        let responses = operation["responses"].as_object().unwrap();
        let (status, response) = responses.iter().find(|(status, _)| status.starts_with('2')).unwrap();
        let Some(content) = response["content"]["application/json"].as_object() else { continue };
        let id = match path.as_str() {
            path if path.starts_with("/v1/actions") => BULK.to_owned(),
            path if path.starts_with("/v1/incidents") => super::incidents::silent().incident.about.id(),
            _ => "1".to_owned(),
        };
        let filled = path
            .replace("{saga}", "order")
            .replace("{order_id}", "101")
            .replace("{sequence}", "1")
            .replace("{id}", &id);
        let answer = match (method.as_str(), path.as_str()) {
            ("get", "/v1/search") => api.get("/v1/search?text=1").await,
            // Nobody signs in where no token is needed.
            ("post", "/v1/session") => continue,
            ("get", _) => api.get(&filled).await,
            ("delete", _) => api.json("DELETE", &filled, &Value::Null).await,
            ("put", "/v1/sagas/{saga}/version") => {
                api.json("PUT", &filled, &json!({"version": 1, "reason": "r"})).await
            }
            ("post", "/v1/sagas/{saga}/migrate") => {
                api.post(&filled, &json!({"from": 1, "to": 2, "reason": "r"})).await
            }
            ("put", _) => api.json("PUT", &filled, &json!({"mode": "act", "reason": "r"})).await,
            ("post", "/v1/actions") => {
                api.post(&filled, &json!({"filter": {"saga": "order"}, "action": "note", "dry_run": true})).await
            }
            ("post", path) if path.ends_with("/actions") => {
                api.post(&filled, &json!({"action": "note", "reason": "r"})).await
            }
            ("post", "/v1/events") => {
                let event = json!({"specversion": "1.0", "id": "1", "source": "s", "type": "T"});
                api.post(&filled, &event).await
            }
            ("post", _) => api.post(&filled, &json!({"reason": "r"})).await,
            (other, _) => panic!("no call for {other} {path}"),
        };
        assert_eq!(answer.status.as_str(), status, "{method} {path}: {}", answer.text);
        let mut schema = content["schema"].clone();
        schema["components"] = document["components"].clone();
        let validator = jsonschema::validator_for(&schema).unwrap();
        let body = answer.json();
        let faults: Vec<String> =
            validator.iter_errors(&body).map(|it| format!("{}: {it}", it.instance_path())).collect();
        assert!(faults.is_empty(), "{method} {path}: {faults:?}\n{}", answer.text);
        checked += 1;
    }
    assert_eq!(checked, 36, "every call that answers with JSON");
}

#[tokio::test]
async fn problems_are_described_as_they_are() {
    let api = api();
    let document = api.get("/openapi.json").await.json();
    let mut schema = document["components"]["schemas"]["ProblemBody"].clone();
    schema["components"] = document["components"].clone();
    let validator = jsonschema::validator_for(&schema).unwrap();
    for path in ["/v1/orders?x=1", "/v1/sagas/none", "/nothing"] {
        let body = api.get(path).await.json();
        assert!(validator.is_valid(&body), "{path}: {body}");
        let anchor = body["type"].as_str().unwrap().strip_prefix("/docs#").unwrap().to_owned();
        assert!(api.get("/docs").await.text.contains(&format!("id=\"{anchor}\"")), "{anchor} is explained");
    }
}

#[tokio::test]
async fn the_page_shows_every_call_and_asks_nobody_else() {
    let page = api().get("/docs").await;
    assert!(page.headers["content-type"].to_str().unwrap().starts_with("text/html"));
    for path in ["/v1/sagas/{saga}/orders/{order_id}/actions", "/v1/stream", "older_than", "OrderView"] {
        assert!(page.text.contains(path), "{path}");
    }
    for outside in ["http://", "https://", "<script", "src="] {
        assert!(!page.text.contains(outside), "{outside}");
    }
}
