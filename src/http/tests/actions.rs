//! Actions on many orders, and the brake.

use std::collections::BTreeMap;

use axum::body::Body;
use axum::http::Request;
use serde_json::{Value, json};
use uuid::Uuid;

use super::support::{Api, FakeDesk, FakeStore, ago, bulk, journal_row, key, order};
use crate::saga::brake::{Brake, SagaState};
use crate::saga::incident::About;
use crate::saga::incident::cause::Cause;
use crate::saga::input::Action;
use crate::saga::order::{Need, Status, StuckReason};
use crate::saga::time::Span;
use crate::store::{Bulk, BulkAsk, BulkOrder, BulkOutcome, BulkState, NamedOrder, OrderFilter};

fn release() -> Value {
    json!({"filter": {"saga": "order", "reason": ["held"], "older_than": "10m", "attr.customer": "jo"},
        "action": "release", "reason": "it is back", "per_second": 2.5})
}

#[tokio::test]
async fn a_filter_in_the_words_of_the_order_list_becomes_an_action() {
    let api = Api::of(vec![]);
    let answer = api.post("/v1/actions", &release()).await;
    assert_eq!(answer.status, 202, "{}", answer.text);
    let (id, ask) = api.desk.bulks.lock().unwrap()[0].clone();
    let filter = OrderFilter {
        sagas: vec!["order".to_owned()],
        reasons: vec![StuckReason::Held],
        older_than: Some(Span::from_secs(600)),
        attributes: vec![("customer".to_owned(), "jo".to_owned())],
        ..OrderFilter::default()
    };
    assert_eq!((ask.filter, ask.action, ask.every), (filter, Action::Release, Span::from_millis(400)));
    assert_eq!((ask.actor.as_str(), ask.reason.as_str()), ("anonymous", "it is back"));
    let body = answer.json();
    assert_eq!((&body["id"], &body["per_second"], &body["left"]), (&json!(id.to_string()), &json!(2.5), &json!(1)));
    assert_eq!(body["filter"]["reason"], "held");
    // Nothing is said about the rate: a sane one.
    let mut without = release();
    without.as_object_mut().unwrap().remove("per_second");
    assert_eq!(api.post("/v1/actions", &without).await.json()["per_second"], 10.0);
    let longer = json!({"filter": {"status": "stuck"}, "action": "extend", "by": "30m", "reason": "r"});
    assert_eq!(api.post("/v1/actions", &longer).await.json()["by"], "30m");
}

#[tokio::test]
async fn the_same_idempotency_key_is_the_same_action() {
    let api = Api::of(vec![]);
    for key in ["k", "k", "other"] {
        let request = Request::post("/v1/actions").header("content-type", "application/json");
        let request = request.header("idempotency-key", key).header("x-escrow-actor", "ann");
        assert_eq!(api.send(request.body(Body::from(release().to_string())).unwrap()).await.status, 202);
    }
    let ids: Vec<Uuid> = api.desk.bulks.lock().unwrap().iter().map(|it| it.0).collect();
    assert!(ids[0] == ids[1] && ids[1] != ids[2]);
    assert_eq!(api.desk.bulks.lock().unwrap()[0].1.actor, "ann");
}

#[tokio::test]
async fn what_is_not_understood_is_refused_by_name() {
    let api = Api::of(vec![]);
    let with = |name: &str, value: Value| {
        let mut body = release();
        body[name] = value;
        body
    };
    for (body, pointer, part) in [
        (with("filter", json!({"statsu": "stuck"})), "/filter/statsu", "did you mean `status`"),
        (with("filter", json!({"limit": "5"})), "/filter/limit", "`limit`"),
        (with("filter", json!({"reason": "hold"})), "/filter/reason", "did you mean `held`"),
        (with("filter", json!({"reason": 5})), "/filter/reason", "a list of texts"),
        (with("filter", json!({"attr.colour": "red"})), "/filter/attr.colour", "attribute"),
        (with("filter", json!({"saga": ""})), "/filter/saga", "not empty"),
        (with("filter", json!({})), "/filter", "means every order"),
        (with("filter", json!({"order_ids": []})), "/filter/order_ids", "not empty"),
        (with("filter", json!({"order_ids": "101"})), "/filter/order_ids", "a list of order ids"),
        (with("filter", json!({"order_ids": [101]})), "/filter/order_ids", "holds order ids"),
        (with("filter", json!({"order_ids": [""]})), "/filter/order_ids", "1 to 256 bytes"),
        (with("filter", json!({"order_ids": ["é".repeat(129)]})), "/filter/order_ids", "1 to 256 bytes"),
        (with("filter", json!({"order_ids": [{"saga": "order"}]})), "/filter/order_ids", "holds order ids"),
        (
            with("filter", json!({"order_ids": [{"saga": "oder", "order_id": "1"}]})),
            "/filter/order_ids",
            "did you mean `order`",
        ),
        (with("filter", json!({"order_ids": vec!["1"; 1001]})), "/filter/order_ids", "at most 1000"),
        (with("filter", json!({"order_ids": ["1"], "order_id": "1"})), "/filter/order_id", "not both"),
        (with("filter", json!({"order_id": "many"})), "/filter", "more than 100000"),
        (with("action", json!("relase")), "/action", "did you mean `release`"),
        (with("step", json!("paymnt")), "/step", "did you mean `payment`"),
        (with("by", json!("5m")), "/by", "takes no `by`"),
        (with("per_second", json!(0)), "/per_second", "from 0.01 to 100"),
        (with("per_second", json!(101)), "/per_second", "from 0.01 to 100"),
        (with("reason", json!(" ")), "/reason", "say why"),
    ] {
        let answer = api.post("/v1/actions", &body).await;
        assert!(answer.problem(400).contains(part), "{body}: {}", answer.text);
        assert_eq!(answer.json()["errors"][0]["pointer"], pointer, "{body}");
    }
    assert!(api.post("/v1/actions", &with("perSecond", json!(1))).await.problem(400).contains("per_second"));
}

#[tokio::test]
async fn orders_are_named_one_by_one_and_the_answer_says_how_many() {
    let api = Api::of(vec![]);
    let ids = json!(["101", {"saga": "order", "order_id": "a,b/c"}]);
    let body = json!({"filter": {"order_ids": ids, "status": "stuck"}, "action": "note", "reason": "r"});
    let answer = api.post("/v1/actions", &body).await.json();
    assert_eq!((&answer["named"], &answer["filter"]), (&json!(2), &json!({"status": "stuck"})));
    let ask = api.desk.bulks.lock().unwrap()[0].1.clone();
    let named = vec![
        NamedOrder { order_id: "101".to_owned(), saga: None },
        NamedOrder { order_id: "a,b/c".to_owned(), saga: Some("order".to_owned()) },
    ];
    assert_eq!(ask.filter, OrderFilter { named, statuses: vec![Status::Stuck], ..OrderFilter::default() });
    // A list of orders is not named so: an address could not hold as many.
    assert!(api.get("/v1/orders?order_ids=1").await.problem(400).contains("order_ids"));
}

#[tokio::test]
async fn actions_are_listed_page_by_page_and_by_how_far_they_are() {
    let stopped = Bulk { state: BulkState::Stopped, ..bulk(Uuid::from_u128(8), ask()) };
    let bulks = vec![bulk(Uuid::from_u128(7), ask()), stopped];
    let api = Api::new(FakeStore { bulks, ..FakeStore::default() }, FakeDesk::default());
    let first = api.get("/v1/actions?limit=1").await.json();
    assert_eq!((&first["actions"][0]["status"], &first["actions"][0]["named"]), (&json!("running"), &Value::Null));
    let next = first["next_cursor"].as_str().unwrap();
    let rest = api.get(&format!("/v1/actions?limit=1&cursor={next}")).await.json();
    assert_eq!((&rest["actions"][0]["status"], &rest["next_cursor"]), (&json!("stopped"), &Value::Null));
    let running = api.get("/v1/actions?status=running").await.json();
    assert_eq!(running["actions"].as_array().unwrap().len(), 1);
    assert!(api.get("/v1/actions?status=runing").await.problem(400).contains("did you mean `running`"));
}

#[tokio::test]
async fn a_dry_run_counts_and_shows_and_begins_nothing() {
    let api = Api::of(vec![order("101"), order("102")]);
    let dry = json!({"filter": {"saga": "order"}, "action": "close", "dry_run": true});
    let answer = api.post("/v1/actions", &dry).await;
    assert_eq!((answer.status.as_u16(), &answer.json()["count"]), (200, &json!(2)));
    assert_eq!(answer.json()["samples"][0]["order_id"], "101");
    assert!(api.desk.bulks.lock().unwrap().is_empty());
}

fn ask() -> BulkAsk {
    BulkAsk {
        filter: OrderFilter::default(),
        given: BTreeMap::from([("reason".to_owned(), "held".to_owned())]),
        action: Action::Release,
        step: None,
        actor: "ann".to_owned(),
        reason: "it is back".to_owned(),
        every: Span::from_millis(100),
        named: 0,
    }
}

#[tokio::test]
async fn an_action_shows_what_became_of_each_order_and_can_be_stopped() {
    let id = Uuid::from_u128(7);
    let one = |place, id: &str, outcome| BulkOrder { place, key: key(id), outcome, at: Some(ago(1)) };
    let orders = vec![
        one(1, "101", Some(BulkOutcome::Done(8))),
        one(2, "102", Some(BulkOutcome::Refused("order is ended".to_owned()))),
        one(3, "103", None),
    ];
    let store = FakeStore { bulks: vec![bulk(id, ask())], bulk_orders: orders, ..FakeStore::default() };
    let desk = FakeDesk::default();
    let done = BulkAsk { step: Some("payment".to_owned()), ..ask() };
    desk.bulks.lock().unwrap().extend([(id, ask()), (Uuid::from_u128(8), done)]);
    let api = Api::new(store, desk);
    let shown = api.get(&format!("/v1/actions/{id}?limit=2")).await.json();
    assert_eq!((&shown["status"], &shown["total"], &shown["refused"]), (&json!("running"), &json!(3), &json!(1)));
    assert_eq!(
        (&shown["results"][0]["sequence"], &shown["results"][1]["detail"]),
        (&json!(8), &json!("order is ended"))
    );
    let next = shown["next_cursor"].as_str().unwrap();
    let rest = api.get(&format!("/v1/actions/{id}?limit=2&cursor={next}")).await.json();
    assert_eq!((&rest["results"][0]["outcome"], &rest["next_cursor"]), (&Value::Null, &Value::Null));
    let refused = api.get(&format!("/v1/actions/{id}?outcome=refused")).await.json();
    assert_eq!(refused["results"][0]["order_id"], "102");
    assert!(api.get(&format!("/v1/actions/{id}?outcome=refusd")).await.problem(400).contains("did you mean `refused`"));
    for unknown in ["x", "00000000-0000-0000-0000-000000000009"] {
        assert!(api.get(&format!("/v1/actions/{unknown}")).await.problem(404).contains(unknown));
        let stop = format!("/v1/actions/{unknown}/stop");
        assert_eq!(api.post(&stop, &json!({"reason": "r"})).await.status, 404);
    }
    let stopped = api.post(&format!("/v1/actions/{id}/stop"), &json!({"reason": "too many"})).await;
    assert_eq!((stopped.status.as_u16(), &stopped.json()["stopped_reason"]), (202, &json!("too many")));
    assert!(api.post(&format!("/v1/actions/{id}/stop"), &json!({})).await.problem(400).contains("say why"));
    let done = format!("/v1/actions/{}/stop", Uuid::from_u128(8));
    assert!(api.post(&done, &json!({"reason": "r"})).await.problem(409).contains("done already"));
}

fn braked() -> FakeStore {
    let brake = Brake { turned: vec![(ago(30), 50)], latched_at: Some(ago(20)) };
    let states = BTreeMap::from([("order".to_owned(), SagaState { brake, ..SagaState::default() })]);
    FakeStore { states, ..FakeStore::default() }
}

fn with_brake() -> FakeDesk {
    let mut saga = super::support::saga();
    saga.brake = Some(crate::saga::definition::BrakeLimit { orders: 50, per: Span::from_secs(60) });
    FakeDesk { catalog: std::sync::Arc::new([std::sync::Arc::new(saga)].into_iter().collect()), ..FakeDesk::default() }
}

#[tokio::test]
async fn a_brake_that_holds_is_on_every_screen() {
    let api = Api::new(braked(), with_brake());
    let shown = json!({"orders": 50, "per": "1m", "counted": 50, "latched_at": ago(20).rfc3339()});
    assert_eq!(api.get("/v1/sagas/order").await.json()["brake"], shown);
    let status = api.get("/v1/status").await.json();
    assert_eq!(status["sagas"][0]["brake"], shown);
    assert!(status["problems"][0].as_str().unwrap().starts_with("the brake of saga order holds"), "{status}");
    // The orders it holds name its incident, whatever their step.
    let mut order = order("101");
    order.life.status = Status::Stuck;
    order.life.needs = vec![Need { reason: StuckReason::Held, step: Some(1), since: ago(9), detail: None }];
    api.store.orders.lock().unwrap().push(order);
    let incident = About::new(Cause::Stuck(StuckReason::Held), "order", None).id();
    assert_eq!(api.get("/v1/sagas/order/orders/101").await.json()["stuck"]["incident"], json!(incident));
    assert_eq!(api.get(&format!("/v1/orders?incident={incident}")).await.status, 200);
    let asked = api.store.asked.lock().unwrap().last().cloned().unwrap();
    assert_eq!((asked.reasons, asked.stuck_step), (vec![StuckReason::Held], None), "of every step");
    // Without a brake in its definition a saga has none.
    let api = Api::new(braked(), FakeDesk::default());
    assert_eq!(api.get("/v1/sagas/order").await.json()["brake"], Value::Null);
}

#[tokio::test]
async fn a_person_takes_the_brake_off_and_is_told_what_stays_held() {
    let store = FakeStore::default();
    store.orders.lock().unwrap().extend([order("101"), order("102")]);
    let api = Api::new(store, with_brake());
    let answer = api.post("/v1/sagas/order/brake/reset", &json!({"reason": "found it"})).await.json();
    let brake = json!({"orders": 50, "per": "1m", "counted": 0, "latched_at": null});
    let expected = json!({"saga": "order", "brake": brake, "was_latched_at": ago(60).rfc3339(), "held": 2});
    assert_eq!(answer, expected);
    assert_eq!(api.desk.resets.lock().unwrap()[0], ("order".to_owned(), "anonymous".to_owned(), "found it".to_owned()));
    assert!(api.post("/v1/sagas/order/brake/reset", &json!({})).await.problem(400).contains("say why"));
    assert!(api.post("/v1/sagas/oder/brake/reset", &json!({"reason": "r"})).await.problem(404).contains("`order`"));
    // What was changed about the saga has no order in the journal.
    api.store.journal.lock().unwrap().push(journal_row(1, "", 1, "brake_reset", 0));
    let entry = api.get("/v1/journal").await.json()["entries"][0].clone();
    assert_eq!(
        (&entry["order_id"], &entry["saga"], &entry["name"]),
        (&Value::Null, &json!("order"), &json!("brake_reset"))
    );
}
