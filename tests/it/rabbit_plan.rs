//! `escrow rabbit plan`, applied to a real broker: a whole choreography with a user who has the plan's rights and no others, where
//! Escrow binds and where an administrator does.

use std::collections::BTreeSet;
use std::time::Duration;

use escrow::bus::{Published, Sink, Tap, rabbitmq};
use futures_util::StreamExt as _;
use lapin::options::{BasicAckOptions, ExchangeBindOptions};
use lapin::types::FieldTable;
use serde_json::{Value, json};
use tokio::task::{block_in_place, spawn_blocking};

use crate::support::choreography::{Reacting, Reaction, Service, always, definition};
use crate::support::escrow::Escrow;
use crate::support::rabbitmq::{Vhost, managed, shared};
use crate::support::services::{PATIENCE, publication, until, wanted};
use crate::support::{postgres, services};

const RETRIED: &str =
    "within: 1s\n    retry: { times: 1, every: 1s, to: { queue: inventory } }\n    on_timeout: compensate";

/// The plan for what `escrow` follows, as a definitions file.
fn plan(escrow: &Escrow, vhost: &str, user: &str, bound_by: &str) -> String {
    let file = escrow.definitions();
    let arguments =
        ["rabbit", "plan", "-o", "json", "--vhost", vhost, "--user", user, "--bound-by", bound_by, "--sagas"];
    let output = escrow.command(&[&arguments[..], &[file.to_str().unwrap()]].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// An order that times out, is retried to one queue, and is compensated, by a user with the rights of a plan.
async fn a_whole_choreography(bound_by: &'static str) {
    let vhost = shared().vhost();
    let user = format!("escrow-{}", vhost.name);
    let url = block_in_place(|| vhost.new_user(&user));
    let escrow = Escrow::new(&definition(RETRIED, "within: 60s"), &postgres::shared().database().await, &url);
    let order = Service::start(&vhost.url()).await;
    order.0.queue("inventory").await;
    order.0.bind("inventory", "order_exchange", "").await;
    let plan = block_in_place(|| {
        let plan = plan(&escrow, &vhost.name, &user, bound_by);
        shared().import(&plan);
        plan
    });
    order.0.queue("tellings").await;
    order.0.bind("tellings", "escrow", "order.#").await;
    let before = block_in_place(|| shared().export());
    escrow.run().await;
    // It consumes what it gets and answers nothing.
    let mut inventory = order.0.consume("inventory").await;
    let _payment = Reacting::payment(&vhost.url()).await;
    let released = Reaction {
        on: ("inventory_exchange", "ReleaseInventory"),
        publish: ("inventory_exchange", "InventoryReleased"),
        answers: always,
    };
    let _inventory = Reacting::start(&vhost.url(), released).await;
    escrow.bound().await;
    order.publish("order_exchange", "OrderPlaced", "4711").await;

    let first = next(&mut inventory).await;
    let again = next(&mut inventory).await;
    assert_eq!(again.data, first.data, "the retry is the same message, for this queue alone");
    assert!(again.properties.headers().as_ref().unwrap().inner().contains_key("x-escrow-retry"));
    escrow.order_when("4711", "is compensated", |order| order["status"] == "compensated").await;
    let mut tellings = order.0.consume("tellings").await;
    let mut told = BTreeSet::new();
    let expected = ["retried", "timed_out", "compensating", "compensated"];
    while !expected.iter().all(|word| told.iter().any(|key: &String| key.ends_with(word))) {
        told.insert(next(&mut tellings).await.routing_key.to_string());
    }
    assert_eq!(escrow.terminate(), Some(0));

    // What the plan put in force is all there is; Escrow added nothing but what the plan says it binds by itself.
    let after = block_in_place(|| shared().export());
    let of = |all: &Value, what: &str| -> BTreeSet<String> {
        let rows = all[what].as_array().cloned().unwrap_or_default();
        // The services' anonymous queues come and go.
        let anonymous = |row: &Value| row["destination"].as_str().is_some_and(|queue| queue.starts_with("amq."));
        let rows = rows.iter().filter(|row| row["vhost"] == vhost.name.as_str() && !anonymous(row));
        rows.map(Value::to_string).collect()
    };
    for what in ["exchanges", "queues", "policies", "permissions", "topic_permissions", "parameters"] {
        assert_eq!(of(&after, what), of(&before, what), "{what}; the plan: {plan}");
    }
    let added: Vec<Value> = of(&after, "bindings")
        .difference(&of(&before, "bindings"))
        .map(|text| serde_json::from_str(text).unwrap())
        .collect();
    match bound_by {
        "escrow" => {
            assert!(added.iter().all(|it: &Value| it["destination"] == "escrow.tap.default"), "{added:?}");
            assert_eq!(added.len(), 8, "four exchanges, each by `#` and by the empty key");
        }
        _ => assert!(added.is_empty(), "{added:?}"),
    }
}

async fn next(consumer: &mut lapin::Consumer) -> lapin::message::Delivery {
    let delivery = tokio::time::timeout(Duration::from_mins(1), consumer.next()).await.expect("it comes in time");
    let delivery = delivery.expect("the queue stays").expect("the channel stays");
    delivery.ack(BasicAckOptions::default()).await.unwrap();
    delivery
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_the_plans_rights_escrow_binds_and_sees_an_order_through() {
    a_whole_choreography("escrow").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bound_by_an_administrator_escrow_needs_no_right_to_configure_or_to_read_the_services() {
    a_whole_choreography("administrator").await;
}

const TWO_EXCHANGES: &str = "saga: order\nversion: 1\nread: { event: /event_type, order_id: /data/order_id }\n\
    watch: [{ exchange: orders }, { exchange: payments }]\nsteps: { placed: { done: OrderPlaced } }\n";

/// A user with a plan's rights on a virtual host where `orders` is, and `payments` is not.
fn administered(vhost: &Vhost<'static>) -> String {
    let escrow = Escrow::new(TWO_EXCHANGES, "sqlite::memory:", "");
    let user = format!("escrow-{}", vhost.name);
    block_in_place(|| {
        let url = vhost.new_user(&user);
        shared().import(&plan(&escrow, &vhost.name, &user, "administrator"));
        url
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_an_administrators_hands_nothing_foreign_can_be_reached() {
    let vhost = shared().vhost();
    let service = services::Service::connect(&vhost.url()).await;
    service.exchange("orders", lapin::ExchangeKind::Fanout).await;
    service.queue("orders").await;
    service.send("", "orders", "the service's own").await;
    let url = administered(&vhost);
    let (tap, sink) = rabbitmq::start(
        &url,
        "default",
        rabbitmq::Options {
            bound: rabbitmq::Bound { messages: 1_000_000, bytes: 4 << 30 },
            ..rabbitmq::Options::default()
        },
    )
    .unwrap();
    until("both connections stand", || tap.health().connected && sink.is_connected()).await;
    let mut source = services::open(tap.as_ref()).await;
    assert!(tap.is_administered());
    let looks = tap.look(vec![wanted("orders"), wanted("payments")]).await.unwrap();
    let seen: Vec<_> = looks.iter().map(|look| (look.found, look.bound, look.problem.is_none())).collect();
    assert_eq!(
        seen,
        [(true, true, true), (false, false, true)],
        "what is there counts as bound, on the administrator's word"
    );
    service.send("orders", "", "seen").await;
    assert_eq!(services::drain(source.as_mut(), 1).await, ["seen"], "and it is");

    let words =
        sink.publish(vec![publication("1", "orders", ""), publication("2", "escrow", "order.x.timed_out")]).await;
    let words = words.unwrap();
    assert!(matches!(&words[0], Published::Refused(why) if why.contains("orders")), "{words:?}");
    assert!(matches!(&words[1], Published::Unroutable(_)), "allowed, and nobody listens: {words:?}");
    let other_saga = sink.publish(vec![publication("3", "escrow", "another.x.timed_out")]).await.unwrap();
    assert!(matches!(&other_saga[0], Published::Refused(_)), "by topic permission: {other_saga:?}");

    let limited = services::Service::connect(&url).await;
    let consumed = limited.channel.basic_get("orders".into(), lapin::options::BasicGetOptions::default()).await;
    assert!(consumed.is_err(), "not even where the queue is called like a watched exchange");
    let limited = services::Service::connect(&url).await;
    let (options, nothing) = (ExchangeBindOptions::default(), FieldTable::default());
    assert!(
        limited.channel.exchange_bind("escrow".into(), "orders".into(), "".into(), options, nothing).await.is_err()
    );
    drop(source);
    tap.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_appears_after_an_administrator_bound_counts_once_a_person_says_that_it_is_bound() {
    let vhost = shared().vhost();
    let service = services::Service::connect(&vhost.url()).await;
    service.exchange("orders", lapin::ExchangeKind::Fanout).await;
    let url = administered(&vhost);
    let escrow = Escrow::new(TWO_EXCHANGES, &postgres::shared().database().await, &url);
    escrow.run().await;
    let payments =
        async || Some(escrow.get("/v1/status").await?["sagas"][0]["unbound"]["payments"].as_str()?.to_owned());
    escrow.until("it was looked for", async || payments().await.filter(|why| why.contains("does not exist"))).await;
    service.exchange("payments", lapin::ExchangeKind::Fanout).await;
    let is_told =
        async || payments().await.filter(|why| why.contains("absent when the tap was bound by an administrator"));
    escrow.until("it is not believed to be bound", is_told).await;
    assert!(escrow.get("/v1/status").await.unwrap()["sagas"][0]["watermark"].is_null(), "and nothing fires meanwhile");

    let unbind = ["rabbit", "unbind", "--amqp-url", &url, "--reason", "a drill", "--actor", "ada", "--yes"];
    let refused = block_in_place(|| escrow.command(&unbind));
    let said = String::from_utf8_lossy(&refused.stdout).into_owned();
    assert!(refused.status.code() == Some(4) && said.contains("NOT unbound orders"), "{said}");

    for key in ["#", ""] {
        service.bind("escrow.tap.default", "payments", key).await;
    }
    assert!(block_in_place(|| escrow.command(&["rabbit", "bind", "--reason", "bound by hand"])).status.success());
    escrow.bound().await;
    let status = escrow.get("/v1/status").await.unwrap();
    assert!(status["doubts"]["gaps"].as_u64() >= Some(1), "what was published before is unseen: {status}");
    let body = json!({"event_type": "OrderPlaced", "data": {"order_id": "1"}}).to_string();
    service.send("payments", "", &body).await;
    escrow.order_when("1", "was seen through it", |order| order["status"] == "completed").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_who_may_declare_but_not_read_an_exchange_is_told_so_and_believes_nothing() {
    let vhost = shared().vhost();
    let service = services::Service::connect(&vhost.url()).await;
    service.exchange("orders", lapin::ExchangeKind::Fanout).await;
    let user = format!("escrow-{}", vhost.name);
    let own = r"^escrow(\..*)?$";
    let url = block_in_place(|| {
        let url = vhost.new_user(&user);
        shared().ctl(&["set_permissions", "-p", &vhost.name, &user, own, own, own]);
        url
    });
    let (tap, sink) = rabbitmq::start(&url, "test", rabbitmq::Options::default()).unwrap();
    until("both connections stand", || tap.health().connected && sink.is_connected()).await;
    drop(services::open(tap.as_ref()).await);
    let looks = tokio::time::timeout(PATIENCE, tap.look(vec![wanted("orders")])).await.unwrap().unwrap();
    assert!(!tap.is_administered() && !looks[0].bound, "{looks:?}");
    assert!(looks[0].problem.as_deref().is_some_and(|why| why.contains("orders")), "{looks:?}");
    tap.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_plan_as_commands_puts_the_same_in_force_as_the_definitions_file() {
    let text = "saga: order\nversion: 1\nread: { event: /event_type, order_id: /data/order_id }\n\
                watch: [{ exchange: \"o'rders $1\" }, { exchange: shop, keys: [\"order.*\", \"pay.#\"] }]\n\
                steps:\n  placed: { done: OrderPlaced }\n  paid:\n    after: placed\n    done: Paid\n    within: 1s\n    \
                retry: { times: 1, every: 1s, to: { queue: inventory } }\n    \
                compensation: { publish: { event: Refund, exchange: shop, routing_key: refund } }\n";
    let server = managed();
    for bound_by in ["escrow", "administrator"] {
        let mut exports = Vec::new();
        for way in ["table", "json"] {
            let vhost = server.vhost();
            let service = services::Service::connect(&vhost.url()).await;
            service.exchange("o'rders $1", lapin::ExchangeKind::Fanout).await;
            service.exchange("shop", lapin::ExchangeKind::Topic).await;
            service.queue("inventory").await;
            let escrow = Escrow::new(text, "sqlite::memory:", "");
            let exported = spawn_blocking(move || {
                vhost.new_user(&format!("escrow-{}", vhost.name));
                let file = escrow.definitions();
                let user = format!("escrow-{}", vhost.name);
                let arguments =
                    ["rabbit", "plan", "-o", way, "--vhost", &vhost.name, "--user", &user, "--bound-by", bound_by];
                let output = escrow.command(&[&arguments[..], &["--sagas", file.to_str().unwrap()]].concat());
                let planned = String::from_utf8(output.stdout).unwrap();
                if way == "json" {
                    server.import(&planned);
                } else {
                    let done = server.script(&planned);
                    let said = String::from_utf8_lossy(&done.stderr).into_owned();
                    assert!(done.status.success(), "{said}\n{}\n{planned}", String::from_utf8_lossy(&done.stdout));
                }
                let all =
                    server.export().to_string().replace(&format!("\"{}\"", vhost.name), "\"V\"").replace(&user, "U");
                serde_json::from_str::<Value>(&all).unwrap()
            });
            exports.push(exported.await.unwrap());
        }
        for what in ["exchanges", "queues", "bindings", "policies", "permissions", "topic_permissions", "parameters"] {
            let rows = |all: &Value| -> BTreeSet<String> {
                let rows = all[what].as_array().cloned().unwrap_or_default();
                let rows = rows.into_iter().filter(|row| row["vhost"] == json!("V"));
                rows.map(|row| paired(row).to_string()).collect()
            };
            let [by_commands, by_file] = [&exports[0], &exports[1]].map(rows);
            assert_eq!(by_commands, by_file, "{bound_by}: {what}");
            assert!(!by_file.is_empty(), "{bound_by}: there are {what}");
        }
    }
}

/// `rabbitmqctl` keeps an operator policy as pairs where an import keeps it as a map: the same to the broker.
fn paired(mut row: Value) -> Value {
    if let Some(definition) = row["value"]["definition"].as_object().cloned() {
        row["value"]["definition"] = definition.into_iter().map(|(key, value)| json!([key, value])).collect();
    }
    row
}
