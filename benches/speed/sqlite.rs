//! A backlog is drained into SQLite: Escrow, and a bare loop that writes the same rows with the same statements.
//!
//! ```text
//!   load ──▶ quorum queue ──▶ Escrow ──▶ a file of its own
//!                        └──▶ bare loop (Escrow's own statements over JSON arrays, no machine, no chain) ──▶ another file
//! ```
//!
//! Both wait for their disk at every commit (`synchronous = FULL`), through the same driver. What Escrow writes for each event
//! is the sample taken on PostgreSQL: the columns are the same.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use escrow::saga::journal::hex;
use lapin::message::Delivery;
use serde_json::{Value, json};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions as _, Connection as _, SqliteConnection};

use super::Wanted;
use super::drain;
use super::ground::Ground;
use super::load;
use super::reference::{self, Event};
use super::sample::{self, Rows};
use super::table::{self, Runs};
use super::work::{Drain, Work};
use crate::support::escrow::Escrow;

/// Events of the backlog.
const EVENTS: u64 = 100_000;
/// What is not timed at the beginning.
const WARM_UP: f64 = 0.05;

const LOCK_ORDERS: &str = include_str!("../../src/store/sql/sqlite/lock_orders.sql");
const INSERT_ORDERS: &str = include_str!("../../src/store/sql/sqlite/insert_orders.sql");
const UPDATE_ORDERS: &str = include_str!("../../src/store/sql/sqlite/update_orders.sql");
const INSERT_ATTRIBUTES: &str = include_str!("../../src/store/sql/sqlite/insert_attributes.sql");
const INSERT_JOURNAL: &str = include_str!("../../src/store/sql/sqlite/insert_journal.sql");
const INSERT_PAYLOADS: &str = include_str!("../../src/store/sql/sqlite/insert_payloads.sql");

/// What a run came to.
struct Run {
    rate: f64,
    /// Milliseconds of processor time for each event: the program's, RabbitMQ's.
    cpu_ms: [f64; 2],
}

/// Measures, and prints the table.
pub async fn measure(wanted: &Wanted) {
    let ground = Ground::new(wanted.program.clone()).await;
    println!("{}\n", ground.describe().await);
    let events = wanted.events.unwrap_or(EVENTS) / 4 * 4;
    let folder = tempfile::tempdir().unwrap();
    let sample = folder.path().join("sample.json");
    drain::take_sample(&ground, &sample).await;
    let sample = sample.to_str().unwrap();
    let names = ["Escrow", "bare loop"];
    let mut sides: [Vec<Run>; 2] = Default::default();
    for repeat in 0..wanted.repeats {
        for (side, name) in names.iter().enumerate() {
            let run = if side == 0 { escrow(&ground, events).await } else { bare(&ground, events, sample).await };
            eprintln!("run {}: {name:<10} {:>7.0} events/s {:?}", repeat + 1, run.rate, run.cpu_ms);
            sides[side].push(run);
        }
    }
    println!("drain of {events} events into SQLite (WAL, FULL), {} runs, median [least..most]\n", wanted.repeats);
    let of = |runs: &[Run], figure: &dyn Fn(&Run) -> f64| Runs(runs.iter().map(figure).collect());
    let rows = names.iter().zip(&sides).map(|(name, runs)| {
        let ratios = runs.iter().zip(&sides[1]).map(|(run, bare)| run.rate / bare.rate);
        let mut row = vec![(*name).to_owned(), of(runs, &|it| it.rate).shown(0)];
        row.extend((0..2).map(|process| of(runs, &|it| it.cpu_ms[process]).shown(3)));
        row.push(Runs(ratios.collect()).shown(2));
        row
    });
    let head = ["", "events/s", "CPU ms/event: program", "RabbitMQ", "rate / bare loop"];
    table::print(&head, &rows.collect::<Vec<_>>());
}

async fn escrow(ground: &Ground, events: u64) -> Run {
    let folder = tempfile::tempdir().unwrap();
    let (database, amqp) = (url(folder.path()), ground.rabbitmq.vhost().url());
    let escrow = Escrow::new(load::DEFINITION, &database, &amqp).program(ground.program.clone());
    let escrow = escrow.with("RUST_LOG", "warn");
    drain::declare_exchange(&amqp).await;
    escrow.run().await;
    escrow.bound().await;
    assert_eq!(escrow.terminate(), Some(0));
    Work::publish(&amqp, events, None).done().await;
    escrow.start();
    let run = watch(ground, &database, events, escrow.pid()).await;
    escrow.terminate();
    run
}

async fn bare(ground: &Ground, events: u64, sample: &str) -> Run {
    let folder = tempfile::tempdir().unwrap();
    let database = url(folder.path());
    escrow::store::sqlite::migrate(&database).await.unwrap();
    let drain = drain::elsewhere(ground, database.clone()).await;
    Work::publish(&drain.amqp, events, None).done().await;
    let mut child = Work::BareSqlite(Drain { events, sample: sample.to_owned(), ..drain }).start();
    let run = watch(ground, &database, events, child.id()).await;
    assert!(child.wait().unwrap().success(), "the bare loop failed");
    run
}

fn url(folder: &Path) -> String {
    format!("sqlite://{}", folder.join("escrow.db").display())
}

async fn watch(ground: &Ground, database: &str, events: u64, program: u32) -> Run {
    let mut conn = connect(database).await;
    let cpu = || [0, 2].map(|process| ground.cpu(program)[process]);
    let first = until(&mut conn, (events as f64 * WARM_UP) as u64).await;
    let (began, before) = (Instant::now(), cpu());
    let last = until(&mut conn, events).await;
    let (took, after) = (began.elapsed().as_secs_f64(), cpu());
    let count: i64 = sqlx::query_scalar("SELECT count(*) FROM journal").fetch_one(&mut conn).await.unwrap();
    assert_eq!(u64::try_from(count).unwrap(), events, "an entry for each event, and nothing else");
    let timed = (last - first) as f64;
    Run { rate: timed / took, cpu_ms: std::array::from_fn(|at| (after[at] - before[at]) * 1_000.0 / timed) }
}

async fn until(conn: &mut SqliteConnection, events: u64) -> u64 {
    let deadline = Instant::now() + Duration::from_mins(10);
    loop {
        let query = "SELECT coalesce(max(position), 0) FROM journal";
        let now: i64 = sqlx::query_scalar(query).fetch_one(&mut *conn).await.unwrap();
        let now = u64::try_from(now).unwrap();
        if now >= events {
            return now;
        }
        assert!(Instant::now() < deadline, "only {now} of {events} events were applied");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// A connection set as Escrow sets its own.
async fn connect(database: &str) -> SqliteConnection {
    let options: SqliteConnectOptions = database.parse().unwrap();
    let options = options.journal_mode(SqliteJournalMode::Wal).synchronous(SqliteSynchronous::Full);
    let options = options.busy_timeout(Duration::from_secs(5)).pragma("cache_size", "-65536");
    options.connect().await.unwrap()
}

/// The bare loop.
pub async fn drain(work: &Drain) {
    let templates = reference::templates(work);
    let mut conn = connect(&work.database).await;
    reference::consume(work, async |batch| write(&mut conn, &templates, batch).await).await;
    conn.close().await.unwrap();
}

async fn write(conn: &mut SqliteConnection, templates: &BTreeMap<String, Rows>, batch: &[Delivery]) {
    let events: Vec<(Event<'_>, &Rows, &Delivery)> = batch
        .iter()
        .map(|delivery| {
            let event: Event<'_> = serde_json::from_slice(&delivery.data).unwrap();
            let rows = &templates[event.event_type];
            (event, rows, delivery)
        })
        .collect();
    let mut transaction = conn.begin_with("BEGIN IMMEDIATE").await.unwrap();
    let now = jiff::Timestamp::now().as_microsecond();
    let keys: Vec<Value> = events.iter().map(|it| json!(["order", it.0.data.order_id])).collect();
    sqlx::query(LOCK_ORDERS).bind(Value::from(keys).to_string()).fetch_all(&mut *transaction).await.unwrap();

    // The last row of each order, whether it is new, and how many entries it gets.
    let mut last: BTreeMap<&str, (&Rows, bool, i64)> = BTreeMap::new();
    for (event, rows, _) in &events {
        let is_new = event.event_type == load::EVENTS[0];
        let row = last.entry(event.data.order_id).or_insert((rows, is_new, 0));
        *row = (rows, row.1, row.2 + 1);
    }
    let orders = |new: bool| {
        let rows = last.iter().filter(|it| it.1.1 == new);
        rows.map(|(id, (rows, _, entries))| order(id, rows, now, *entries)).collect::<Vec<Value>>()
    };
    let attributes = events.iter().filter(|it| it.0.event_type == load::EVENTS[0]);
    let attributes = attributes.map(|it| json!(["customer", it.0.data.customer, now, "order", it.0.data.order_id]));
    let statements = [
        (INSERT_ORDERS, orders(true)),
        (UPDATE_ORDERS, orders(false)),
        (INSERT_ATTRIBUTES, attributes.collect()),
        (INSERT_JOURNAL, events.iter().map(|it| entry(it, now)).collect()),
        (INSERT_PAYLOADS, events.iter().map(payload).collect()),
    ];
    for (statement, rows) in statements.into_iter().filter(|it| !it.1.is_empty()) {
        sqlx::query(statement).bind(Value::from(rows).to_string()).execute(&mut *transaction).await.unwrap();
    }
    transaction.commit().await.unwrap();
}

fn order(id: &str, rows: &Rows, now: i64, entries: i64) -> Value {
    let it = &rows.order;
    let (due, since) = (it.next_due.map(|after| now + after), it.waiting_since.map(|after| now + after));
    let none = Value::Null;
    json!([
        "order",
        id,
        it.version,
        it.status,
        it.state,
        hex(&it.seen),
        it.attributes,
        due,
        it.waiting,
        since,
        none,
        none,
        none,
        now,
        now,
        it.sequence,
        hex(&it.head),
        it.duplicates,
        it.earlier,
        entries
    ])
}

fn entry((event, rows, _): &(Event<'_>, &Rows, &Delivery), now: i64) -> Value {
    let (id, it) = (event.data.order_id, &rows.journal);
    let body = it.body.replace(&load::order_id(sample::ID), id);
    json!(["order", id, rows.order.sequence, now, it.kind, it.actor, body, hex(&it.hash)])
}

fn payload((event, rows, delivery): &(Event<'_>, &Rows, &Delivery)) -> Value {
    let it = &rows.payload;
    let message_id = delivery.properties.message_id().as_ref().map(lapin::types::ShortString::as_str);
    json!([
        "order",
        event.data.order_id,
        rows.order.sequence,
        hex(&it.salt),
        hex(&delivery.data),
        hex(&it.body_hash),
        it.envelope,
        delivery.exchange.as_str(),
        delivery.routing_key.as_str(),
        message_id
    ])
}
