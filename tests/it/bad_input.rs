//! Everything a service may send by mistake, to a whole Escrow over a real broker, on both stores: each message has one outcome,
//! the queue goes on, and nothing of a message reaches a terminal, a log, a header or an event as anything but text.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::StreamExt as _;
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, ExchangeKind};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};
use tokio::task::spawn_blocking;

use crate::support::escrow::Escrow;
use crate::support::raw_amqp::{RawPublisher, long, short, table, text};
use crate::support::services::Service;
use crate::support::{postgres, rabbitmq};

const MIB: usize = 1 << 20;

/// The kind of event is in the body, or in the type property where the body is none of JSON.
fn definition(version: u32, event: &str) -> String {
    format!(
        "saga: order
version: {version}
watch: [{{ exchange: orders }}]
read: {{ event: [{event}], order_id: /data/order_id }}
attributes: {{ customer: /data/customer }}
steps:
  placed: {{ done: OrderPlaced }}
  paid: {{ after: placed, done: Paid, within: 1h }}
notify: [completed]
"
    )
}

/// What must become of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Fate {
    Order(String),
    Quarantine(&'static str),
}

struct Sent {
    body: Vec<u8>,
    properties: BasicProperties,
    fate: Fate,
}

fn sent(body: impl Into<Vec<u8>>, fate: Fate) -> Sent {
    let properties = BasicProperties::default().with_type("OrderPlaced".into());
    Sent { body: body.into(), properties, fate }
}

fn placed(order_id: &Value) -> Vec<u8> {
    json!({"event_type": "OrderPlaced", "data": {"order_id": order_id, "customer": order_id}}).to_string().into_bytes()
}

/// Order ids of every kind that is one.
fn good_ids() -> Vec<String> {
    let mut ids: Vec<String> = [
        "a/b",
        "100%",
        "%2F",
        "a b",
        "x\r\nSet-Cookie: y",
        "\u{1b}[31mred\u{1b}[0m",
        "\u{7}",
        "\u{9b}31m",
        "\u{202e}txt.exe",
        "<script>alert(1)</script>",
        "=cmd()",
        "\"quoted\", and, commas",
        "'; DROP TABLE orders; --",
        "?a=b&c#d",
        "\\u0000",
        "é",
        "日本",
        "🦀",
        "\u{feff}bom",
        " ",
        "~",
        "{{ order_id }}",
        "a\tb",
        "null",
        "order/1/audit",
    ]
    .map(str::to_owned)
    .to_vec();
    ids.extend(["x".repeat(256), "é".repeat(128)]);
    ids
}

fn messages() -> Vec<Sent> {
    let order = |id: &str| Fate::Order(id.to_owned());
    let mut all: Vec<Sent> = good_ids().iter().map(|id| sent(placed(&json!(id)), order(id))).collect();
    let bad = Fate::Quarantine;
    for id in
        [json!("x".repeat(257)), json!("x".repeat(MIB)), json!("a\0b"), json!(""), json!(1.5), json!(true), json!([1])]
    {
        all.push(sent(placed(&id), bad("bad_order_id")));
    }
    let with = |id: &str| format!(r#"{{"event_type":"OrderPlaced","data":{{"order_id":{id}}}}}"#);
    all.push(sent(with(r#""\ud800""#), bad("bad_order_id")));
    all.push(sent(with("1e400"), bad("bad_order_id")));
    all.push(sent(with("null"), bad("no_order_id")));
    all.push(sent(with("1234567890123456789012345678901234567890"), order("1234567890123456789012345678901234567890")));
    all.push(sent(r#"{"event_type":"OrderPlaced","data":{"order_id":"first","order_id":"last"}}"#, order("last")));
    all.push(sent([b"\xef\xbb\xbf".as_slice(), with(r#""with a mark""#).as_bytes()].concat(), order("with a mark")));
    let beside =
        |value: &str, id: &str| format!(r#"{{"event_type":"OrderPlaced","x":{value},"data":{{"order_id":"{id}"}}}}"#);
    all.push(sent(beside(r#""a\u0000b""#, "zero"), order("zero")));
    all.push(sent(beside(r#""\ud800""#, "surrogate"), order("surrogate")));
    all.push(sent(beside("1e400", "number"), order("number")));
    all.push(sent(
        r#"{"event_type":"OrderPlaced","data":{"order_id":"attribute","customer":"\u0000"}}"#,
        order("attribute"),
    ));
    all.push(sent(beside(&format!("{}{}", "[".repeat(100_000), "]".repeat(100_000)), "deep"), bad("unreadable")));
    all.push(sent("", bad("unreadable")));
    all.push(sent(b"{\"event_type\": \"OrderPlaced\xff\"}".to_vec(), bad("unreadable")));
    all.push(sent(vec![0; 64], bad("unreadable")));
    all.push(sent(vec![b' '; 16 * MIB], bad("unreadable")));
    let mut gzip = sent(b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\xab\xae\x05\x00".to_vec(), bad("unreadable"));
    gzip.properties = gzip.properties.with_content_encoding("gzip".into());
    all.push(gzip);
    for (name, size) in [("a byte less", MIB - 1), ("the limit", MIB), ("a byte more", MIB + 1), ("sixteen", 16 * MIB)]
    {
        let mut body = placed(&json!(name));
        body.resize(size, b' ');
        all.push(sent(body, order(name)));
    }
    let mut tables = sent(placed(&json!("many headers")), order("many headers"));
    let many = (0..4_000).map(|n| (format!("h\0{n}").into(), AMQPValue::LongString("\0\u{1b}[31m".into())));
    tables.properties = tables.properties.with_headers(FieldTable::from(many.collect::<BTreeMap<_, _>>()));
    all.push(tables);
    all
}

/// Messages no client library would write: key, properties as they go over the wire, body, fate.
type Raw = (Vec<u8>, Vec<u8>, Vec<u8>, Fate);

fn raw_messages() -> Vec<Raw> {
    let flags = |flags: u16, values: &[Vec<u8>]| [flags.to_be_bytes().to_vec(), values.concat()].concat();
    let (headers, message_id, event_type) = (1 << 13, 1 << 7, 1 << 5);
    let deep = (0..20_000).fold(b"V".to_vec(), |inner, _| [b"A".to_vec(), long(&inner)].concat());
    let order = |id: &str| (placed(&json!(id)), Fate::Order(id.to_owned()));
    let cases = [
        (b"caf\xe9".to_vec(), flags(0, &[]), order("raw key")),
        (b"k".to_vec(), flags(message_id, &[short(b"caf\xe9")]), order("raw id")),
        (b"k".to_vec(), flags(headers, &[table(&[(b"n\xe9", text(b"x"))])]), order("raw header")),
        (b"k".to_vec(), flags(headers, &[table(&[(b"n", deep)])]), order("raw depth")),
        (b"a\0b".to_vec(), flags(message_id, &[short(b"\0")]), order("raw zero")),
        (b"k".to_vec(), flags(event_type, &[short(b"\xff")]), (b"{}".to_vec(), Fate::Quarantine("unreadable"))),
        (b"\0\xff".to_vec(), flags(0, &[]), (b"not JSON".to_vec(), Fate::Quarantine("unreadable"))),
    ];
    cases.into_iter().map(|(key, properties, (body, fate))| (key, properties, body, fate)).collect()
}

/// A letter that a terminal would obey, a log would break at, or a reader would be deceived by.
fn is_hidden(letter: char) -> bool {
    (letter.is_control() && letter != '\n') || matches!(letter, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn encoded(id: &str) -> String {
    utf8_percent_encode(id, NON_ALPHANUMERIC).to_string()
}

async fn publish_all(url: &str, service: &Service, all: &[Sent]) {
    for one in all {
        service.send_bytes("orders", "k", &one.body, one.properties.clone()).await;
    }
    let (url, raw) = (url.to_owned(), raw_messages());
    let publishing = spawn_blocking(move || {
        let mut publisher = RawPublisher::connect(&url);
        for (key, properties, body, _) in raw {
            publisher.publish(b"orders", &key, &properties, &body).expect("the broker takes it");
        }
    });
    publishing.await.unwrap();
}

/// The count of each outcome.
async fn outcomes(escrow: &Escrow) -> BTreeMap<String, u64> {
    let metrics = reqwest::get(escrow.url("/metrics")).await.unwrap().text().await.unwrap();
    let lines = metrics.lines().filter(|line| line.starts_with("escrow_events_total{"));
    let count = |line: &str| {
        let (labels, count) = line.split_once("\"} ")?;
        let (_, outcome) = labels.split_once("result=\"")?;
        Some((outcome.to_owned(), count.parse::<u64>().ok()?))
    };
    let mut outcomes = BTreeMap::new();
    for (outcome, count) in lines.filter_map(count) {
        *outcomes.entry(outcome).or_default() += count;
    }
    outcomes
}

async fn every_row(escrow: &Escrow, path: &str, name: &str) -> Vec<Value> {
    let (mut rows, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = escrow.get(&format!("{path}?limit=500{cursor}")).await.expect("the list answers");
        rows.extend(page[name].as_array().unwrap().iter().cloned());
        let Some(next) = page["next_cursor"].as_str() else { return rows };
        cursor = format!("&cursor={}", encoded(next));
    }
}

async fn every_message_has_one_outcome(database: &str) {
    let vhost = rabbitmq::shared().vhost();
    let url = vhost.url();
    let service = Service::connect(&url).await;
    service.exchange("orders", ExchangeKind::Topic).await;
    let escrow = Escrow::new(&definition(1, "/event_type, property:type"), database, &url);
    escrow.run().await;
    escrow.bound().await;
    service.queue("told").await;
    service.bind("told", "escrow", "#").await;
    let mut told = service.consume("told").await;
    let all = messages();
    publish_all(&url, &service, &all).await;
    let fates: Vec<Fate> =
        all.iter().map(|one| one.fate.clone()).chain(raw_messages().into_iter().map(|it| it.3)).collect();
    // The queue goes on: what was sent last is an order as any other.
    let mut wanted: BTreeSet<String> = fates.iter().filter_map(order_of).collect();
    service.send("orders", "k", &String::from_utf8(placed(&json!("the last"))).unwrap()).await;
    wanted.insert("the last".to_owned());
    escrow.order_when(&encoded("the last"), "is there", |_| true).await;

    let found: BTreeSet<String> = every_row(&escrow, "/v1/orders", "orders").await.iter().map(order_id).collect();
    assert_eq!(found, wanted, "missing: {:?}", wanted.difference(&found).collect::<Vec<_>>());
    let quarantined = every_row(&escrow, "/v1/quarantine", "messages").await;
    let mut reasons: Vec<&str> = quarantined.iter().filter_map(|row| row["reason"].as_str()).collect();
    let mut due: Vec<&str> = fates
        .iter()
        .filter_map(|fate| if let Fate::Quarantine(reason) = fate { Some(*reason) } else { None })
        .collect();
    reasons.sort_unstable();
    due.sort_unstable();
    assert_eq!(reasons, due);
    let huge = quarantined.iter().find(|row| row["body_bytes"] == json!(16 * MIB)).expect("its size is kept");
    let (status, answer) = escrow.post(&format!("/v1/quarantine/{}/replay", huge["id"]), json!({"reason": "?"})).await;
    assert_eq!(status, 409, "{answer}");
    assert!(answer.to_string().contains("were kept"), "{answer}");
    let outcomes = outcomes(&escrow).await;
    assert_eq!(outcomes.values().sum::<u64>(), fates.len() as u64 + 1, "each delivery has one outcome: {outcomes:?}");
    assert_eq!(outcomes["quarantined"], due.len() as u64);

    for id in &wanted {
        let body = json!({"event_type": "Paid", "data": {"order_id": id}}).to_string();
        service.send("orders", "k", &body).await;
    }
    the_tellings_are_text(&mut told, &wanted).await;
    addresses_hold_every_id(&escrow, &wanted).await;
    zeros_are_asked_for(&escrow).await;
    the_terminal_obeys_nothing(&escrow, &wanted);
    let log = escrow.log_text();
    assert!(!log.contains("panicked") && !log.contains("the program broke"), "{log}");
    assert_eq!(
        log.chars().find(|letter| is_hidden(*letter)),
        None,
        "nothing of a message is obeyed by who reads the log"
    );
}

fn order_of(fate: &Fate) -> Option<String> {
    if let Fate::Order(id) = fate { Some(id.clone()) } else { None }
}

fn order_id(order: &Value) -> String {
    order["order_id"].as_str().unwrap().to_owned()
}

/// One telling for each order, with the id as JSON and nowhere else.
async fn the_tellings_are_text(told: &mut lapin::Consumer, orders: &BTreeSet<String>) {
    let mut about = BTreeSet::new();
    while about != *orders {
        let delivery = tokio::time::timeout(crate::support::escrow::PATIENCE, told.next()).await;
        let delivery = delivery.expect("every order is told about").unwrap().unwrap();
        delivery.ack(lapin::options::BasicAckOptions::default()).await.unwrap();
        assert_eq!(delivery.routing_key.as_str(), "order.completed");
        let headers = delivery.properties.headers().as_ref().unwrap();
        assert!(headers.inner().keys().all(|name| name.as_str().starts_with("x-escrow-")), "{headers:?}");
        let event: Value = serde_json::from_slice(&delivery.data).unwrap();
        about.insert(event["subject"].as_str().unwrap().to_owned());
    }
}

async fn addresses_hold_every_id(escrow: &Escrow, orders: &BTreeSet<String>) {
    let client = reqwest::Client::new();
    for id in orders {
        for path in ["", "/audit"] {
            let answer = client.get(escrow.url(&format!("/v1/sagas/order/orders/{}{path}", encoded(id)))).send();
            let answer = answer.await.unwrap();
            assert_eq!(answer.status().as_u16(), 200, "{id:?}");
            for (name, value) in answer.headers() {
                assert!(value.as_bytes().iter().all(|byte| (b' '..=b'~').contains(byte)), "{name}: {value:?}");
            }
            let body: Value = answer.json().await.unwrap();
            assert!(path == "/audit" || body["order_id"] == json!(id), "{body}");
        }
        let answer = escrow.get(&format!("/v1/orders?order_id={}", encoded(id))).await.unwrap();
        assert_eq!(answer["orders"][0]["order_id"], json!(id));
    }
    let missing = client.get(escrow.url(&format!("/v1/sagas/order/orders/{}", encoded("no\r\nX: y\u{1b}[2J")))).send();
    let missing = missing.await.unwrap();
    assert_eq!(missing.status().as_u16(), 404);
    assert!(missing.json::<Value>().await.is_ok(), "a problem is JSON, whatever it is about");
}

fn the_terminal_obeys_nothing(escrow: &Escrow, orders: &BTreeSet<String>) {
    let mut commands: Vec<Vec<&str>> = ["table", "json", "jsonl"]
        .into_iter()
        .flat_map(|format| {
            [vec!["order", "list", "--all", "-o", format], vec!["quarantine", "list", "--all", "-o", format]]
        })
        .collect();
    commands.push(vec!["audit", "verify"]);
    commands.push(vec!["status"]);
    let odd: Vec<&String> = orders.iter().filter(|id| id.chars().any(is_hidden) || id.contains('<')).collect();
    for id in &odd {
        for command in ["get", "why", "audit"] {
            commands.push(vec!["order", command, "--saga", "order", id]);
        }
    }
    for command in commands {
        let output = escrow.command(&command);
        let shown = String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{command:?}: {shown}");
        let hidden = shown.chars().find(|letter| is_hidden(*letter));
        assert_eq!(hidden, None, "{command:?}: {shown}");
    }
}

/// Requests for what the databases cannot hold are answered like any other.
async fn zeros_are_asked_for(escrow: &Escrow) {
    let client = reqwest::Client::new();
    let gets = [
        "/v1/sagas/order/orders/%00",
        "/v1/sagas/order/orders/a%00b/audit",
        "/v1/sagas/%00",
        "/v1/orders?order_id=%00",
        "/v1/orders?attr.customer=%00",
        "/v1/orders?attr.a%00b=c",
        "/v1/journal?actor=%00",
        "/v1/quarantine?exchange=%00",
        "/v1/orders?cursor=%00",
        "/v1/quarantine/%00",
        "/v1/incidents/%00",
    ];
    for path in gets {
        let status = client.get(escrow.url(path)).send().await.unwrap().status();
        assert!(!status.is_server_error(), "{path}: {status}");
    }
    let posts = [
        ("/v1/sagas/order/orders/%00/actions", json!({"action": "note", "reason": "x"})),
        ("/v1/sagas/order/orders/null/actions", json!({"action": "note", "reason": "\0"})),
        ("/v1/quarantine/1/drop", json!({"reason": "\0"})),
        ("/v1/quarantine/2/replay", json!({"order_id": "\0", "reason": "x"})),
    ];
    for (path, body) in posts {
        let (status, answer) = escrow.post(path, body).await;
        assert!(status < 500, "{path}: {status} {answer}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_message_has_one_outcome_on_postgres() {
    every_message_has_one_outcome(&postgres::shared().database().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_message_has_one_outcome_on_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    every_message_has_one_outcome(&format!("sqlite://{}", folder.path().join("escrow.db").display())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_wrong_definition_could_not_read_is_replayed_once_it_is_mended() {
    let vhost = rabbitmq::shared().vhost();
    let url = vhost.url();
    let service = Service::connect(&url).await;
    service.exchange("orders", ExchangeKind::Topic).await;
    let wrong = definition(1, "/event_type").replace("order_id: /data/order_id", "order_id: routing_key:9");
    let escrow = Escrow::new(&wrong, &postgres::shared().database().await, &url);
    escrow.run().await;
    escrow.bound().await;
    let ids = ["a/b", "\u{1b}[31m", "three"];
    for id in ids {
        service.send_bytes("orders", "k", &placed(&json!(id)), BasicProperties::default()).await;
    }
    let publishing = spawn_blocking(move || {
        let mut publisher = RawPublisher::connect(&url);
        publisher.publish(b"orders", b"caf\xe9", &[0, 0], &placed(&json!("no text in its key"))).expect("it is taken");
    });
    publishing.await.unwrap();
    let rows = escrow
        .until("all are in quarantine", async || {
            let rows = every_row(&escrow, "/v1/quarantine", "messages").await;
            (rows.len() == ids.len() + 1).then_some(rows)
        })
        .await;
    let of_raw = rows.iter().find(|row| row["routing_key"] == r"caf\xe9").expect("it is shown");
    assert_eq!(of_raw["reason"], "unreadable", "{of_raw}");
    assert_eq!(of_raw["envelope"]["properties"]["$unreadable"]["routing_key"], "Y2Fm6Q==", "with what was sent");
    let id = |row: &Value| row["id"].as_i64().unwrap().to_string();
    let early = escrow.command(&["quarantine", "replay", &id(&rows[0]), "--reason", "too early"]);
    assert!(!early.status.success(), "it still cannot be read");

    assert_eq!(escrow.terminate(), Some(0));
    escrow.define(&definition(2, "/event_type"));
    escrow.run().await;
    escrow.bound().await;
    for row in &rows {
        let output = escrow.command(&["quarantine", "replay", &id(row), "--reason", "the definition is mended"]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    for order in ids.into_iter().chain(["no text in its key"]) {
        escrow.order_when(&encoded(order), "is there", |_| true).await;
    }
    assert!(every_row(&escrow, "/v1/quarantine", "messages").await.is_empty());
}
