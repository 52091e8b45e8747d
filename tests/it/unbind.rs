//! The kill switch: with a running Escrow, without one, and where it would take an exchange along.

use std::process::Output;
use std::time::Duration;

use lapin::options::{BasicPublishOptions, ExchangeDeclareOptions};
use lapin::types::FieldTable;
use lapin::{BasicProperties, ExchangeKind};
use serde_json::Value;
use tokio::task::block_in_place;

use crate::support::choreography::{EXCHANGES, Service, definition};
use crate::support::escrow::Escrow;
use crate::support::rabbitmq::{Vhost, shared};
use crate::support::{postgres, services};

const IMPATIENT: &str = "within: 2s\n    on_timeout: compensate";

fn unbind(escrow: &Escrow, url: &str, more: &[&str]) -> Output {
    let arguments = ["rabbit", "unbind", "--amqp-url", url, "--reason", "publishers are slow", "--actor", "ada"];
    block_in_place(|| escrow.command(&[&arguments[..], more].concat()))
}

fn said(output: &Output) -> (Option<i32>, String) {
    let text = [&output.stdout[..], &output.stderr[..]].concat();
    (output.status.code(), String::from_utf8_lossy(&text).into_owned())
}

/// What the tap is bound to besides Escrow's own.
fn bound_to(vhost: &Vhost<'static>) -> Vec<String> {
    let arguments = ["-p", &vhost.name, "list_bindings", "source_name", "destination_name", "--formatter", "json"];
    let rows: Vec<Value> = serde_json::from_str(&block_in_place(|| vhost.server.ctl(&arguments))).unwrap();
    let text = |row: &Value, name: &str| row[name].as_str().unwrap_or_default().to_owned();
    let of_tap = rows.iter().filter(|row| text(row, "destination_name") == "escrow.tap.default");
    let mut sources: Vec<String> = of_tap.map(|row| text(row, "source_name")).collect();
    sources.retain(|source| !source.is_empty() && !source.starts_with("escrow"));
    sources.sort();
    sources.dedup();
    sources
}

async fn is_unbound(escrow: &Escrow) -> Value {
    escrow
        .until("the switch is shown", async || {
            let status = escrow.get("/v1/status").await?;
            let problems = status["problems"].to_string();
            let saga = status["sagas"][0].clone();
            (problems.contains("unbound by ada: publishers are slow") && saga["sight"] == "blind").then_some(saga)
        })
        .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_running_escrow_stays_away_until_it_is_bound_again_and_then_tells_the_gap() {
    let vhost = shared().vhost();
    let url = vhost.url();
    let escrow = Escrow::new(&definition(IMPATIENT, "within: 60s"), &postgres::shared().database().await, &url);
    let service = Service::start(&url).await;
    escrow.run().await;
    escrow.bound().await;

    let (code, text) = said(&unbind(&escrow, &url, &[]));
    assert!(code == Some(2) && text.contains("would unbind payment_exchange") && text.contains("--yes"), "{text}");
    assert_eq!(said(&unbind(&escrow, &url, &["--dry-run"])).0, Some(0));
    assert_eq!(bound_to(&vhost).len(), EXCHANGES.len(), "nothing was done so far");

    let (code, text) = said(&unbind(&escrow, &url, &["--yes"]));
    assert_eq!((code, bound_to(&vhost)), (Some(0), Vec::new()), "{text}");
    let saga = is_unbound(&escrow).await;
    assert!(
        saga["watermark"].is_null() && saga["unbound"]["payment_exchange"].is_string(),
        "nothing of it fires: {saga}"
    );
    let unbound = async || {
        let incidents = escrow.get("/v1/incidents").await?;
        let [incident] = incidents["incidents"].as_array()?.as_slice() else { return None };
        (incident["cause"] == "unbound").then_some(())
    };
    escrow.until("it is one incident, and blindness is no other", unbound).await;
    // Several looks later, and after a crash, it is still so.
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(bound_to(&vhost), Vec::<String>::new());
    escrow.kill_9();
    escrow.run().await;
    is_unbound(&escrow).await;
    assert_eq!(bound_to(&vhost), Vec::<String>::new());
    service.publish("order_exchange", "OrderPlaced", "unseen").await;

    let bind = ["rabbit", "bind", "--reason", "the broker is mended", "--actor", "ada"];
    let (code, text) = said(&block_in_place(|| escrow.command(&bind)));
    assert_eq!(code, Some(0), "{text}");
    escrow.bound().await;
    assert_eq!(bound_to(&vhost).len(), EXCHANGES.len());
    let status = escrow.get("/v1/status").await.unwrap();
    assert!(status["doubts"]["gaps"].as_u64() >= Some(1), "what was published meanwhile is a gap: {status}");
    assert_eq!(status["problems"], serde_json::json!([]));
    service.publish("order_exchange", "OrderPlaced", "seen").await;
    escrow.order_when("seen", "is followed", |order| order["status"] == "running").await;
    assert!(escrow.get("/v1/sagas/order/orders/unseen").await.is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_whose_answers_came_while_the_tap_was_away_is_told_about_and_not_acted_on() {
    let vhost = shared().vhost();
    let url = vhost.url();
    // Long enough that the switch is set before.
    let in_time = "within: 15s\n    on_timeout: compensate";
    let escrow = Escrow::new(&definition(in_time, "within: 60s"), &postgres::shared().database().await, &url);
    let service = Service::start(&url).await;
    let mut deaf = service.listen("payment_exchange").await;
    escrow.run().await;
    escrow.bound().await;
    service.publish("order_exchange", "OrderPlaced", "7").await;
    service.publish("payment_exchange", "PaymentProcessed", "7").await;
    escrow.order_when("7", "waits for inventory", |order| order["progress"]["done"] == 2).await;
    let (code, text) = said(&unbind(&escrow, &url, &["--yes"]));
    assert_eq!(code, Some(0), "{text}");
    service.publish("inventory_exchange", "InventoryReserved", "7").await;
    is_unbound(&escrow).await;
    let waiting = escrow.order_when("7", "is past its deadline", |order| order["waiting_on"][0]["due"] == true).await;
    assert_eq!(waiting["status"], "running", "nothing fires while it is unbound: {waiting}");
    let bind = ["rabbit", "bind", "--reason", "the broker is mended"];
    assert_eq!(said(&block_in_place(|| escrow.command(&bind))).0, Some(0));
    let stuck = escrow.order_when("7", "is stuck", |order| order["status"] == "stuck").await;
    assert_eq!((&stuck["stuck"]["reason"], &stuck["unproven"][0]), (&"unproven".into(), &"gap".into()), "{stuck}");
    let asked = escrow.get("/v1/journal?kind=compensation,retry").await.unwrap();
    assert_eq!(asked["entries"], serde_json::json!([]), "nobody was asked for anything");
    let refund = futures_util::FutureExt::now_or_never(futures_util::StreamExt::next(&mut deaf));
    assert!(
        refund.is_none_or(|delivery| !String::from_utf8_lossy(&delivery.unwrap().unwrap().data).contains("Refund"))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_running_escrow_the_switch_holds_for_the_next_one() {
    let vhost = shared().vhost();
    let url = vhost.url();
    let escrow = Escrow::new(&definition(IMPATIENT, "within: 60s"), &postgres::shared().database().await, &url);
    drop(Service::start(&url).await);
    escrow.run().await;
    escrow.bound().await;
    assert_eq!(escrow.terminate(), Some(0));
    assert_eq!(bound_to(&vhost).len(), EXCHANGES.len(), "never unbound by itself");
    let (code, text) = said(&unbind(&escrow, &url, &["--yes"]));
    assert_eq!((code, bound_to(&vhost)), (Some(0), Vec::new()), "{text}");
    escrow.run().await;
    is_unbound(&escrow).await;
    assert_eq!(bound_to(&vhost), Vec::<String>::new());

    // With the database away there is the broker alone.
    let bind = ["rabbit", "bind", "--reason", "again"];
    assert_eq!(said(&block_in_place(|| escrow.command(&bind))).0, Some(0));
    escrow.bound().await;
    assert_eq!(escrow.terminate(), Some(0));
    let file = escrow.definitions();
    let alone =
        ["--yes", "--broker-only", "--database-url", "postgres://127.0.0.1:1/none", "--sagas", file.to_str().unwrap()];
    let (code, text) = said(&unbind(&escrow, &url, &alone));
    assert!(code == Some(0) && text.contains("the switch is not set"), "{text}");
    assert_eq!(bound_to(&vhost), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_exchange_that_would_be_deleted_is_kept_unless_forced() {
    let vhost = shared().vhost();
    let url = vhost.url();
    let text = "saga: order\nversion: 1\nread: { event: /event_type, order_id: /data/order_id }\n\
                watch:\n  - exchange: brief\n    declare: { type: fanout, durable: false, auto_delete: true }\n\
                steps: { placed: { done: OrderPlaced } }\n";
    let escrow = Escrow::new(text, &postgres::shared().database().await, &url);
    escrow.run().await;
    escrow.bound().await;
    let (code, text) = said(&unbind(&escrow, &url, &["--yes"]));
    assert!(code == Some(1) && text.contains("brief is auto-delete") && text.contains("--force"), "{text}");
    assert_eq!(bound_to(&vhost), ["brief"]);
    let service = services::Service::connect(&url).await;
    let sent = service.channel.basic_publish(
        "brief".into(),
        "".into(),
        BasicPublishOptions::default(),
        b"{}",
        BasicProperties::default(),
    );
    sent.await.unwrap();
    let options = ExchangeDeclareOptions { passive: true, ..ExchangeDeclareOptions::default() };
    let there = service.channel.exchange_declare("brief".into(), ExchangeKind::Fanout, options, FieldTable::default());
    there.await.expect("the service's exchange is still there");
    let (code, text) = said(&unbind(&escrow, &url, &["--yes", "--force"]));
    assert!(code == Some(0) && text.contains("auto-delete"), "{text}");
    assert_eq!(bound_to(&vhost), Vec::<String>::new());
}
