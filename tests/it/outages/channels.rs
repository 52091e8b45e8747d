//! Channels closed by the broker (403, 404, 406), and the consumer ended: each refusal is told with the broker's words, each is
//! over when a person has mended its cause, and what may have been missed is a gap.

use std::sync::Mutex;

use lapin::ExchangeKind;
use lapin::options::{ExchangeDeleteOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use serde_json::{Value, json};
use tokio::task::block_in_place;

use super::vhost;
use crate::support::escrow::Escrow;
use crate::support::judgement::Alive;
use crate::support::postgres;
use crate::support::scene::{Fate, Scene};
use crate::support::services::Service;

const TAP: &str = "escrow.tap.default";
/// What Escrow asks for, and reading what the services publish; writing to where compensations go.
const NEEDED: [&str; 3] = [r"^escrow(\..*)?$", r"^(escrow(\..*)?|payment_exchange|inventory_exchange)$", ".*"];

/// Waits until the status says why Escrow cannot see.
async fn told(escrow: &Escrow, words: &str) {
    let last = Mutex::new(Value::Null);
    let what = || format!("the status says {words}, not only {}", last.lock().unwrap());
    escrow
        .until_with(what, async || {
            let status = escrow.get("/v1/status").await?;
            let told = [&status["bus"]["problem"], &status["sagas"][0]["sight_detail"], &status["sagas"][0]["unbound"]];
            let is_told = told.iter().any(|it| it.to_string().contains(words));
            *last.lock().unwrap() = status;
            is_told.then_some(())
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn permissions_taken_away_403_are_told_and_waited_for() {
    let (url, vhost) = (postgres::shared().database().await, vhost());
    let permit = |patterns: [&str; 3]| {
        block_in_place(|| {
            vhost.server.ctl(&[&["set_permissions", "-p", &vhost.name, "limited"], patterns.as_slice()].concat())
        });
    };
    permit(NEEDED);
    let scene = Scene::start(&url, &vhost.limited_url(), &vhost.url()).await;
    let alive = Alive::watch(scene.escrow());
    scene.open().await;
    permit(["^$", "^$", "^$"]);
    // The broker asks for permissions when a channel is new.
    block_in_place(|| vhost.server.ctl(&["close_all_connections", "--vhost", &vhost.name, "maintenance"]));
    scene.answer().await;
    scene.place(Fate::Silent, 2).await;
    told(scene.escrow(), "ACCESS_REFUSED").await;
    scene.outlast().await;
    permit(NEEDED);
    scene.finish().await;
    alive.was_alive();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compensation_whose_exchange_is_gone_404_is_told_alone_and_goes_out_when_a_person_says_so() {
    let (url, vhost) = (postgres::shared().database().await, vhost());
    let scene = Scene::start(&url, &vhost.url(), &vhost.url()).await;
    let alive = Alive::watch(scene.escrow());
    let service = Service::connect(&vhost.url()).await;
    // Frozen until it has missed that the exchange is gone: a look would find it absent, and hold the deadlines back.
    scene.open().await;
    let lonely = scene.place_with(Fate::Silent, 1, &json!({"patience": "3s"})).await.remove(0);
    let paid = |order: &Value| order["steps"][1]["status"] == "done";
    scene.escrow().order_when(&lonely, "is paid", paid).await;
    service.channel.exchange_delete("inventory_exchange".into(), ExchangeDeleteOptions::default()).await.unwrap();
    let stuck = scene.escrow().order_when(&lonely, "is stuck", |order| order["status"] == "stuck").await;
    assert_eq!(stuck["stuck"]["reason"], "compensation_refused", "{stuck}");
    assert_eq!(stuck["stuck"]["step"], "inventory");
    let last = Mutex::new(Value::Null);
    let told = async || {
        let incidents = scene.escrow().get("/v1/incidents?status=all").await?;
        let is_told = incidents["incidents"].as_array()?.iter().any(|it| it["cause"] == "compensation_refused");
        *last.lock().unwrap() = incidents;
        is_told.then_some(())
    };
    scene.escrow().until_with(|| format!("it is an incident; there are {}", last.lock().unwrap()), told).await;

    service.exchange("inventory_exchange", ExchangeKind::Fanout).await;
    service.bind("undoing", "inventory_exchange", "").await;
    scene.escrow().bound().await;
    let action = json!({"action": "retry", "step": "inventory", "reason": "the exchange is back"});
    let (status, body) = scene.escrow().post(&format!("/v1/sagas/order/orders/{lonely}/actions"), action).await;
    assert_eq!(status, 202, "{body}");
    scene.escrow().order_when(&lonely, "is compensated", |order| order["status"] == "compensated").await;
    alive.was_alive();
}

/// What follows when the tap is not there any more: what was published meanwhile is lost, and nobody acts on it.
async fn the_gap_is_told_and_not_acted_on(scene: &Scene, open: &[String]) {
    let escrow = scene.escrow();
    let gap = async || {
        let status = escrow.get("/v1/status").await?;
        (status["doubts"]["gaps"].as_u64()? > 0).then_some(())
    };
    escrow.until("the gap is recorded", gap).await;
    for order in open {
        let stuck = escrow.order_when(order, "is stuck", |order| order["status"] == "stuck").await;
        assert_eq!((&stuck["stuck"]["reason"], &stuck["unproven"]), (&json!("unproven"), &json!(["gap"])), "{stuck}");
    }
    let one = async || {
        let incidents = escrow.get("/v1/incidents?cause=unproven").await?;
        let [incident] = incidents["incidents"].as_array()?.as_slice() else { return None };
        (incident["count"] == open.len()).then_some(())
    };
    escrow.until("there is one incident for all", one).await;
    let (asked, _) = scene.undoing.heard();
    assert!(open.iter().all(|order| asked.keys().all(|(of, _)| of != order)), "nobody was asked to undo: {asked:?}");
    // A person looks, and vouches for them.
    for order in open {
        let release = json!({"action": "release", "reason": "the services never got it"});
        let (status, body) = escrow.post(&format!("/v1/sagas/order/orders/{order}/actions"), release).await;
        assert_eq!(status, 202, "{body}");
        escrow.order_when(order, "is compensated", |order| order["status"] == "compensated").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tap_deleted_under_its_consumer_is_a_gap() {
    let (url, vhost) = (postgres::shared().database().await, vhost());
    let scene = Scene::start(&url, &vhost.url(), &vhost.url()).await;
    let alive = Alive::watch(scene.escrow());
    let open = open_orders(&scene).await;
    let service = Service::connect(&vhost.url()).await;
    service.delete_queue(TAP).await;
    the_gap_is_told_and_not_acted_on(&scene, &open).await;
    scene.place(Fate::Answered, 3).await;
    alive.was_alive();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tap_somebody_made_in_another_way_406_is_left_alone_and_told() {
    let (url, vhost) = (postgres::shared().database().await, vhost());
    let scene = Scene::start(&url, &vhost.url(), &vhost.url()).await;
    let alive = Alive::watch(scene.escrow());
    let service = Service::connect(&vhost.url()).await;
    let open = open_orders(&scene).await;
    // Frozen, so that the other one is faster.
    scene.escrow().signal("-STOP");
    service.delete_queue(TAP).await;
    let classic = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    service.channel.queue_declare(TAP.into(), classic, FieldTable::default()).await.unwrap();
    scene.escrow().signal("-CONT");
    told(scene.escrow(), "PRECONDITION_FAILED").await;
    let count = service.channel.queue_declare(
        TAP.into(),
        QueueDeclareOptions { passive: true, ..classic },
        FieldTable::default(),
    );
    assert_eq!(count.await.unwrap().consumer_count(), 0, "it is not consumed");

    service.delete_queue(TAP).await;
    the_gap_is_told_and_not_acted_on(&scene, &open).await;
    alive.was_alive();
}

/// Orders that wait for an answer, and go on waiting for a while.
async fn open_orders(scene: &Scene) -> Vec<String> {
    let open = scene.place_with(Fate::Silent, 3, &json!({"patience": "5s"})).await;
    for order in &open {
        let waits = |order: &Value| order["steps"][1]["status"] == "done" && order["steps"][2]["deadline"].is_string();
        scene.escrow().order_when(order, "waits", waits).await;
    }
    open
}
