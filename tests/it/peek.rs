//! `escrow peek` against a real broker: what it says, when it refuses, and that it leaves nothing behind.

use std::process::{Command, Output};
use std::time::Duration;

use lapin::options::{ExchangeDeclareOptions, QueueBindOptions};
use lapin::types::FieldTable;
use lapin::{BasicProperties, ExchangeKind};
use serde_json::{Value, json};
use tokio::task::{JoinHandle, spawn_blocking};

use crate::rabbitmq::definitions;
use crate::support::choreography::definition;
use crate::support::escrow::Escrow;
use crate::support::rabbitmq::shared;
use crate::support::services::Service;
use crate::support::{choreography, postgres};

/// Nobody listens on this port.
const NO_SERVER: &str = "http://127.0.0.1:1";

/// Runs the program beside the test.
fn escrow(arguments: &[&str]) -> JoinHandle<Output> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_escrow"));
    command.args(arguments).env("NO_COLOR", "1").env("ESCROW_SERVER", NO_SERVER);
    spawn_blocking(move || command.output().expect("the program starts"))
}

/// Publishes orders until `peek` has seen enough; answers what it said.
async fn while_orders_are_placed(service: &Service, exchange: &str, peek: JoinHandle<Output>) -> Output {
    let mut order = 0;
    while !peek.is_finished() {
        order += 1;
        for event in ["OrderPlaced", "PaymentProcessed"] {
            let body = json!({"event_type": event, "data": {"order_id": format!("A-{order}"), "note": "\u{1b}[31m"}});
            let id = format!("{event}-{order}");
            let properties = BasicProperties::default().with_message_id(id.into());
            service.send_with(exchange, "", &body.to_string(), properties).await;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    peek.await.unwrap()
}

fn said(output: &Output) -> (Option<i32>, String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_kinds_of_events_are_shown_with_a_definition_that_check_accepts() {
    let vhost = shared().vhost();
    let service = Service::connect(&vhost.url()).await;
    service.exchange("orders", ExchangeKind::Fanout).await;
    service.queue("inventory").await;
    service.bind("inventory", "orders", "").await;
    let before = definitions(&vhost).await;
    let url = vhost.limited_url();
    let arguments = ["peek", "--amqp-url", &url, "--exchange", "orders", "--force", "--for", "60s", "--count", "9"];

    let (code, screen, errors) = said(&while_orders_are_placed(&service, "orders", escrow(&arguments)).await);
    assert_eq!(code, Some(0), "{errors}");
    for part in ["OrderPlaced", "PaymentProcessed", "/event_type", "/data/order_id", "steps:", "mode: observe"] {
        assert!(screen.contains(part), "{part}: {screen}");
    }
    assert!(!screen.contains('\u{1b}'), "nothing of a message reaches the terminal as it is: {screen}");

    let arguments = [&arguments[..], &["-o", "json"]].concat();
    let (code, text, errors) = said(&while_orders_are_placed(&service, "orders", escrow(&arguments)).await);
    assert_eq!(code, Some(0), "{errors}");
    let report: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(report["messages"], 9);
    let events: Vec<_> = report["events"].as_array().unwrap().iter().map(|event| &event["event"]).collect();
    assert!(events.len() == 2 && events.contains(&&json!("OrderPlaced")), "{report}");
    assert_eq!(report["order_ids"][0]["selector"], "/data/order_id");
    assert_eq!(report["events"][0]["with_message_id"], report["events"][0]["messages"]);

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("draft.yaml");
    std::fs::write(&file, report["definition"].as_str().unwrap()).unwrap();
    let (code, findings, _) = said(&escrow(&["check", file.to_str().unwrap()]).await.unwrap());
    assert_eq!(code, Some(0), "{findings}\n{}", report["definition"]);

    assert_eq!(definitions(&vhost).await, before);
    let (server, name) = (vhost.server, vhost.name.clone());
    let own = spawn_blocking(move || server.ctl(&["-p", &name, "list_queues", "name", "--silent"])).await.unwrap();
    assert!(!own.contains("escrow.peek."), "its own queue is gone: {own}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_known_to_stay_bound_is_not_looked_at_without_force() {
    let vhost = shared().vhost();
    let service = Service::connect(&vhost.url()).await;
    let options = ExchangeDeclareOptions { auto_delete: true, ..ExchangeDeclareOptions::default() };
    let declared =
        service.channel.exchange_declare("brief".into(), ExchangeKind::Fanout, options, FieldTable::default());
    declared.await.unwrap();
    let url = vhost.url();
    let (code, text, errors) =
        said(&escrow(&["peek", "--amqp-url", &url, "--exchange", "brief", "--for", "1s"]).await.unwrap());
    assert_eq!((code, text.as_str()), (Some(1), ""), "{errors}");
    assert!(errors.contains("`brief`") && errors.contains("auto-delete") && errors.contains("--force"), "{errors}");
    // Had anything been bound and unbound, the broker would have deleted it.
    service.queue("late").await;
    let (options, nothing) = (QueueBindOptions::default(), FieldTable::default());
    let bound = service.channel.queue_bind("late".into(), "brief".into(), "".into(), options, nothing);
    bound.await.expect("the exchange is still there");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_exchange_is_named() {
    let vhost = shared().vhost();
    let url = vhost.url();
    let (code, _, errors) =
        said(&escrow(&["peek", "--amqp-url", &url, "--exchange", "nowhere", "--force"]).await.unwrap());
    assert_eq!(code, Some(3), "{errors}");
    assert!(errors.contains("`nowhere`"), "{errors}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn beside_an_escrow_that_watches_the_exchange_no_force_is_needed() {
    let vhost = shared().vhost();
    let url = vhost.url();
    let running = Escrow::new(&definition("within: 1h", "within: 1h"), &postgres::shared().database().await, &url);
    let service = choreography::Service::start(&url).await;
    service.0.exchange("unwatched", ExchangeKind::Fanout).await;
    running.run().await;
    running.bound().await;
    let server = running.url("");
    let look = |exchange: &'static str, url: &str| {
        let arguments =
            ["peek", "--amqp-url", url, "--exchange", exchange, "--for", "60s", "--count", "2", "--server", &server];
        escrow(&[&arguments[..], &["-o", "jsonl"]].concat())
    };
    let output = while_orders_are_placed(&service.0, "order_exchange", look("order_exchange", &url)).await;
    let (code, text, errors) = said(&output);
    assert_eq!((code, text.lines().count()), (Some(0), 3), "{text}{errors}");

    let (code, _, errors) = said(&look("unwatched", &url).await.unwrap());
    assert!(code == Some(1) && errors.contains("unwatched"), "{errors}");

    // The same names on another virtual host: its tap is not there.
    let elsewhere = shared().vhost();
    let _declared = choreography::Service::start(&elsewhere.url()).await;
    let (code, _, errors) = said(&look("order_exchange", &elsewhere.url()).await.unwrap());
    assert!(code == Some(1) && errors.contains("escrow.tap.default"), "{errors}");
}
