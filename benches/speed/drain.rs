//! A backlog is drained: Escrow, the reference, and a transaction for each event, in turns.

use std::time::{Duration, Instant};

use lapin::ExchangeKind;
use lapin::options::QueueDeclareOptions;
use lapin::types::{AMQPValue, FieldTable};
use sqlx::PgConnection;

use super::Wanted;
use super::ground::{Ground, connect};
use super::load;
use super::sample;
use super::table::{self, Runs};
use super::work::{Drain, Work};
use crate::support::services::Service;

/// Events of the backlog.
const EVENTS: u64 = 200_000;
/// One by one takes much longer: it gets this part of them.
const ONE_BY_ONE: u64 = 20;
/// What is not timed at the beginning: connections, first plans, cold pages.
const WARM_UP: f64 = 0.05;

/// What a run came to.
#[derive(Clone, Copy, Debug)]
pub struct Run {
    pub rate: f64,
    /// Milliseconds of processor time for each event: the program's, PostgreSQL's, RabbitMQ's.
    pub cpu_ms: [f64; 3],
    /// Bytes of WAL for each event.
    pub wal_bytes: f64,
}

/// Measures, and prints the table.
pub async fn measure(wanted: &Wanted) {
    let ground = Ground::new(wanted.program.clone()).await;
    println!("{}\n", ground.describe().await);
    let events = wanted.events.unwrap_or(EVENTS) / 4 * 4;
    let folder = tempfile::tempdir().unwrap();
    let sample = folder.path().join("sample.json");
    take_sample(&ground, &sample).await;
    let sample = sample.to_str().unwrap();

    let names = ["Escrow", "reference", "one by one"];
    let mut sides: [Vec<Run>; 3] = Default::default();
    for repeat in 0..wanted.repeats {
        for side in 0..3 {
            let run = match side {
                0 => escrow(&ground, events).await,
                1 => other(&ground, events, sample, Work::Reference).await,
                _ => other(&ground, events / ONE_BY_ONE, sample, Work::OneByOne).await,
            };
            eprintln!(
                "run {} of {}: {:<10} {:>7.0} events/s {:?}",
                repeat + 1,
                wanted.repeats,
                names[side],
                run.rate,
                run
            );
            sides[side].push(run);
        }
    }
    println!("drain of a backlog of {events} events, {} runs, median [least..most]\n", wanted.repeats);
    print(&names, &sides);
}

fn print(names: &[&str], sides: &[Vec<Run>]) {
    let of = |runs: &[Run], figure: &dyn Fn(&Run) -> f64| Runs(runs.iter().map(figure).collect());
    let reference = &sides[1];
    let rows: Vec<Vec<String>> = names
        .iter()
        .zip(sides)
        .map(|(name, runs)| {
            let ratios = Runs(runs.iter().zip(reference).map(|(run, reference)| run.rate / reference.rate).collect());
            let mut row = vec![(*name).to_owned(), of(runs, &|it| it.rate).shown(0)];
            row.extend((0..3).map(|process| of(runs, &|it| it.cpu_ms[process]).shown(3)));
            row.push(of(runs, &|it| it.cpu_ms.iter().sum()).shown(3));
            row.push(of(runs, &|it| it.wal_bytes).shown(0));
            row.push(ratios.shown(2));
            row
        })
        .collect();
    let head = [
        "",
        "events/s",
        "CPU ms/event: program",
        "PostgreSQL",
        "RabbitMQ",
        "sum",
        "WAL bytes/event",
        "rate / reference",
    ];
    table::print(&head, &rows);
}

/// Writes down what Escrow writes for each event.
pub async fn take_sample(ground: &Ground, file: &std::path::Path) {
    let (escrow, database, amqp) = ground.escrow(load::DEFINITION).await;
    declare_exchange(&amqp).await;
    escrow.run().await;
    escrow.bound().await;
    let rows = sample::take(&escrow, &amqp, &mut connect(&database).await).await;
    std::fs::write(file, serde_json::to_vec(&rows).unwrap()).unwrap();
}

/// The exchange, before Escrow looks for it.
pub async fn declare_exchange(amqp: &str) -> Service {
    let service = Service::connect(amqp).await;
    service.exchange(load::EXCHANGE, ExchangeKind::Fanout).await;
    service
}

/// A database and a virtual host for a side that is not Escrow, with the queue it drains.
pub async fn elsewhere(ground: &Ground, database: String) -> Drain {
    let amqp = ground.rabbitmq.vhost().url();
    let service = declare_exchange(&amqp).await;
    let queue = "reference".to_owned();
    declare_queue(&service, &queue).await;
    service.bind(&queue, load::EXCHANGE, "").await;
    Drain { amqp, queue, database, events: 0, sample: String::new() }
}

/// A quorum queue, as Escrow's own is one.
pub async fn declare_queue(service: &Service, queue: &str) {
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
    let declared = service.channel.queue_declare(queue.into(), QueueDeclareOptions::durable(), arguments);
    declared.await.unwrap();
}

/// Escrow drains a backlog that came while it was down.
pub async fn escrow(ground: &Ground, events: u64) -> Run {
    let (escrow, database, amqp) = ground.escrow(load::DEFINITION).await;
    declare_exchange(&amqp).await;
    escrow.run().await;
    escrow.bound().await;
    assert_eq!(escrow.terminate(), Some(0));
    Work::publish(&amqp, events, None).done().await;
    let mut conn = connect(&database).await;
    settle(&mut conn).await;
    escrow.start();
    let run = watch(ground, &mut conn, events, escrow.pid()).await;
    escrow.terminate();
    run
}

async fn other(ground: &Ground, events: u64, sample: &str, work: fn(Drain) -> Work) -> Run {
    let drain = elsewhere(ground, ground.empty_tables().await).await;
    Work::publish(&drain.amqp, events, None).done().await;
    let mut conn = connect(&drain.database).await;
    settle(&mut conn).await;
    let mut child = work(Drain { events, sample: sample.to_owned(), ..drain }).start();
    let run = watch(ground, &mut conn, events, child.id()).await;
    assert!(child.wait().unwrap().success(), "the side failed");
    run
}

/// Every run begins with what the one before left behind written out.
pub async fn settle(conn: &mut PgConnection) {
    sqlx::query("CHECKPOINT").execute(conn).await.unwrap();
}

/// Follows the journal's sequence, which moves with every event, from the end of the warm-up to the last event.
pub async fn watch(ground: &Ground, conn: &mut PgConnection, events: u64, program: u32) -> Run {
    let warm_up = (events as f64 * WARM_UP) as u64;
    let first = until(conn, warm_up).await;
    let (began, before, wal) = (Instant::now(), ground.cpu(program), wal(conn).await);
    let last = until(conn, events).await;
    let (took, after) = (began.elapsed().as_secs_f64(), ground.cpu(program));
    let timed = (last - first) as f64;
    let written = self::wal(conn).await - wal;
    // Drawn numbers may still be in an open transaction: all is committed when all is counted.
    let deadline = Instant::now() + Duration::from_mins(1);
    loop {
        let count: i64 = sqlx::query_scalar("SELECT count(*) FROM journal").fetch_one(&mut *conn).await.unwrap();
        if u64::try_from(count).unwrap() == events {
            break;
        }
        assert!(Instant::now() < deadline, "{count} journal entries for {events} events");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let cpu_ms = std::array::from_fn(|process| (after[process] - before[process]) * 1_000.0 / timed);
    Run { rate: timed / took, cpu_ms, wal_bytes: written / timed }
}

async fn wal(conn: &mut PgConnection) -> f64 {
    let bytes = "SELECT (pg_current_wal_lsn() - '0/0')::float8";
    sqlx::query_scalar(bytes).fetch_one(conn).await.unwrap()
}

async fn until(conn: &mut PgConnection, events: u64) -> u64 {
    let deadline = Instant::now() + Duration::from_mins(10);
    let drawn = "SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM journal_position";
    loop {
        let now: i64 = sqlx::query_scalar(drawn).fetch_one(&mut *conn).await.unwrap();
        let now = u64::try_from(now).unwrap();
        if now >= events {
            return now;
        }
        assert!(Instant::now() < deadline, "only {now} of {events} events were applied");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
