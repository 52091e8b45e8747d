//! What the relay publishes and settles a second, beside a bare loop that publishes the same bodies with confirms.
//!
//! ```text
//!   orders that turn back ──▶ Escrow ──▶ outbox, held back ──▶ let go all at once ──▶ relay ──▶ settled     first to last
//!                                             └─ the same bodies, in a file ────────▶ publisher ──▶ confirmed
//! ```
//!
//! The relay leases a row, publishes it, and settles it in a transaction, where the broker's word on a compensation is an input
//! of its order: that closes the order, and tells so with one more row. The bare loop only publishes. Rows are held back by a
//! trigger of this harness, which sets them far into the future until they are let go.

use std::time::{Duration, Instant};

use lapin::ExchangeKind;
use sqlx::{Executor as _, PgConnection, Row as _};

use super::Wanted;
use super::ground::{Ground, connect};
use super::load::Message;
use super::table::{self, Runs};
use super::work::Work;
use super::{deadlines, drain};

/// Events; two for each order, which then has several rows.
const EVENTS: u64 = 40_000;

/// The load's second event is taken for a failure here, so that every order turns back.
const DEFINITION: &str = "\
saga: order
version: 1
watch: [{ exchange: shop }]
read: { event: /event_type, order_id: /data/order_id }
attributes: { customer: /data/customer }
brake: none
steps:
  created:
    done: OrderCreated
    compensation:
      publish:
        event: CancelOrder
        exchange: undo
        body: { event_type: CancelOrder, data: { order_id: \"{{ order_id }}\", reason: \"{{ reason }}\" } }
  payment: { after: created, done: PaymentSettled, failed: PaymentAuthorized, within: 1d }
";

const HOLD: &str = "\
CREATE FUNCTION held_back() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.available_at := 9000000000000000000; RETURN NEW; END $$;
CREATE TRIGGER held_back BEFORE INSERT ON outbox FOR EACH ROW EXECUTE FUNCTION held_back();";

const LET_GO: &str = "\
DROP TRIGGER held_back ON outbox;
UPDATE outbox SET available_at = created_at;
VACUUM ANALYZE outbox;
CHECKPOINT";

/// What a run came to.
struct Run {
    settled: f64,
    /// Milliseconds of processor time for each row: the program's, PostgreSQL's, RabbitMQ's.
    cpu_ms: [f64; 3],
    rows: u64,
    asks: u64,
    bare: f64,
}

/// Measures, and prints the table.
pub async fn measure(wanted: &Wanted) {
    let ground = Ground::new(wanted.program.clone()).await;
    println!("{}\n", ground.describe().await);
    let events = wanted.events.unwrap_or(EVENTS) / 2 * 2;
    let mut runs = Vec::new();
    for repeat in 0..wanted.repeats {
        let run = relay(&ground, events).await;
        eprintln!(
            "run {}: {} rows, {} of them compensations: {:.0}/s settled, {:.0}/s bare",
            repeat + 1,
            run.rows,
            run.asks,
            run.settled,
            run.bare
        );
        runs.push(run);
    }
    let of = |figure: &dyn Fn(&Run) -> f64| Runs(runs.iter().map(figure).collect());
    let rows = runs.first().map_or(0, |run| run.rows);
    let asks = runs.first().map_or(0, |run| run.asks);
    println!("{rows} rows, {asks} of them compensations, {} runs, median [least..most]\n", wanted.repeats);
    let mut relay = vec!["Escrow: leased, published, settled".to_owned(), of(&|it| it.settled).shown(0)];
    relay.extend((0..3).map(|process| of(&|it| it.cpu_ms[process]).shown(3)));
    relay.push(of(&|it| it.settled / it.bare).shown(2));
    let mut bare = vec!["published and confirmed".to_owned(), of(&|it| it.bare).shown(0)];
    bare.extend(["", "", "", "1"].map(str::to_owned));
    let head = ["", "messages/s", "CPU ms/message: Escrow", "PostgreSQL", "RabbitMQ", "rate / bare"];
    table::print(&head, &[relay, bare]);
}

async fn relay(ground: &Ground, events: u64) -> Run {
    let (escrow, database, amqp) = ground.escrow(DEFINITION).await;
    let service = drain::declare_exchange(&amqp).await;
    deadlines::listen(&service).await;
    escrow.run().await;
    escrow.bound().await;
    let mut conn = connect(&database).await;
    conn.execute(HOLD).await.unwrap();
    Work::Publish { amqp, events, steps: 2, first_order: 0, rate: None }.done().await;
    let orders = "SELECT count(*) FROM orders WHERE status <> 'running'";
    until(&mut conn, orders, i64::try_from(events / 2).unwrap()).await;
    assert_eq!(escrow.terminate(), Some(0));
    for statement in LET_GO.split(';') {
        conn.execute(statement).await.unwrap();
    }
    let bodies = bodies(&mut conn).await;

    escrow.start();
    let settled = "SELECT count(*) FROM outbox WHERE state = 'settled'";
    let first = at_least(&mut conn, settled, 1).await;
    let (began, before) = (Instant::now(), ground.cpu(escrow.pid()));
    until(&mut conn, "SELECT count(*) FROM outbox WHERE state = 'pending'", 0).await;
    let (took, after) = (began.elapsed().as_secs_f64(), ground.cpu(escrow.pid()));
    escrow.terminate();
    let counted = "SELECT count(*), count(*) FILTER (WHERE asks) FROM outbox";
    let counted = sqlx::query(counted).fetch_one(&mut conn).await.unwrap();
    let (rows, asks): (i64, i64) = (counted.get(0), counted.get(1));
    let timed = (rows - first) as f64;
    Run {
        settled: timed / took,
        cpu_ms: std::array::from_fn(|process| (after[process] - before[process]) * 1_000.0 / timed),
        rows: u64::try_from(rows).unwrap(),
        asks: u64::try_from(asks).unwrap(),
        bare: bare(ground, &bodies).await,
    }
}

/// What stands in the outbox, as messages.
async fn bodies(conn: &mut PgConnection) -> Vec<Message> {
    let query = "SELECT content FROM outbox ORDER BY created_at, order_id, sequence, place";
    let rows: Vec<String> = sqlx::query_scalar(query).fetch_all(conn).await.unwrap();
    let message = |content: String| {
        let content: serde_json::Value = serde_json::from_str(&content).unwrap();
        let text = |name: &str| content[name].as_str().map(str::to_owned);
        let exchange = text("exchange");
        Message {
            mandatory: exchange.is_some(),
            exchange: exchange.unwrap_or_else(|| escrow::saga::outgoing::EXCHANGE.to_owned()),
            routing_key: text("routing_key").unwrap_or_default(),
            body: content["body"].to_string(),
        }
    };
    rows.into_iter().map(message).collect()
}

/// Messages a second, published to exchanges of the same kind.
async fn bare(ground: &Ground, bodies: &[Message]) -> f64 {
    let amqp = ground.rabbitmq.vhost().url();
    let service = drain::declare_exchange(&amqp).await;
    deadlines::listen(&service).await;
    service.exchange(escrow::saga::outgoing::EXCHANGE, ExchangeKind::Topic).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("messages");
    let lines: Vec<String> = bodies.iter().map(|body| serde_json::to_string(body).unwrap()).collect();
    std::fs::write(&file, lines.join("\n")).unwrap();
    let began = Instant::now();
    Work::Send { amqp, file: file.display().to_string() }.done().await;
    bodies.len() as f64 / began.elapsed().as_secs_f64()
}

async fn until(conn: &mut PgConnection, query: &'static str, wanted: i64) {
    wait(conn, query, |count| count == wanted).await;
}

async fn at_least(conn: &mut PgConnection, query: &'static str, wanted: i64) -> i64 {
    wait(conn, query, |count| count >= wanted).await
}

async fn wait(conn: &mut PgConnection, query: &'static str, so: impl Fn(i64) -> bool) -> i64 {
    let deadline = Instant::now() + Duration::from_mins(5);
    loop {
        let count: i64 = sqlx::query_scalar(query).fetch_one(&mut *conn).await.unwrap();
        if so(count) {
            return count;
        }
        assert!(Instant::now() < deadline, "{query} still says {count}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
