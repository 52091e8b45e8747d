//! Publishers and the program together: how much goes through while both share the machine, and how soon an order shows what
//! was published when there is room.
//!
//! ```text
//!   publisher (full speed, confirms) ──▶ queue ──▶ Escrow | reference          events/s, processor time of each
//!   publisher (a tenth of the drain) ──▶ queue ──▶ Escrow | reference ──▶ seen over HTTP | in the table
//!   one order at a time ─────────────────┘                             the time from publish and from confirm
//! ```
//!
//! The publisher is not slowed down to what is read: where it is faster, the queue grows, and the last part is a drain. Both
//! sides meet the same load. The reference has no HTTP: its orders are seen by a query.

use std::process::Child;
use std::time::{Duration, Instant};

use lapin::options::ConfirmSelectOptions;
use sqlx::PgConnection;

use super::Wanted;
use super::cpu;
use super::drain::{self, Run};
use super::ground::{Ground, connect};
use super::load::{self, Message};
use super::table::{self, Runs, quantile};
use super::work::{Drain, Work};
use crate::support::escrow::Escrow;
use crate::support::services::Service;

/// Events of a run.
const EVENTS: u64 = 200_000;
/// Orders whose way is timed.
const SAMPLES: u64 = 300;
/// Between two of them, so that they are part of the load and not a load of their own.
const PAUSE: Duration = Duration::from_millis(30);
/// Names of the timed orders begin here.
const FIRST_SAMPLE: u64 = 70_000_000;

/// A side that runs, on ground of its own.
struct Side {
    database: String,
    amqp: String,
    program: Program,
}

enum Program {
    Escrow(Escrow),
    Reference(Child),
}

impl Side {
    async fn escrow(ground: &Ground) -> Self {
        let (escrow, database, amqp) = ground.escrow(load::DEFINITION).await;
        drain::declare_exchange(&amqp).await;
        escrow.run().await;
        escrow.bound().await;
        Self { database, amqp, program: Program::Escrow(escrow) }
    }

    async fn reference(ground: &Ground, sample: &str, events: u64) -> Self {
        let drain = drain::elsewhere(ground, ground.empty_tables().await).await;
        let (database, amqp) = (drain.database.clone(), drain.amqp.clone());
        let child = Work::Reference(Drain { events, sample: sample.to_owned(), ..drain }).start();
        Self { database, amqp, program: Program::Reference(child) }
    }

    async fn of(which: usize, ground: &Ground, sample: &str, events: u64) -> Self {
        if which == 0 { Self::escrow(ground).await } else { Self::reference(ground, sample, events).await }
    }

    fn pid(&self) -> u32 {
        match &self.program {
            Program::Escrow(escrow) => escrow.pid(),
            Program::Reference(child) => child.id(),
        }
    }

    fn end(self) {
        match self.program {
            Program::Escrow(escrow) => assert_eq!(escrow.terminate(), Some(0), "Escrow ends in order"),
            Program::Reference(mut child) => assert!(child.wait().unwrap().success(), "the reference failed"),
        }
    }
}

/// What a run with publishers came to.
struct Live {
    run: Run,
    /// Milliseconds of processor time of the publisher for each event.
    publisher: f64,
    /// Events published a second.
    published: f64,
}

/// Measures, and prints both tables.
pub async fn measure(wanted: &Wanted) {
    let ground = Ground::new(wanted.program.clone()).await;
    println!("{}\n", ground.describe().await);
    let events = wanted.events.unwrap_or(EVENTS) / 4 * 4;
    let folder = tempfile::tempdir().unwrap();
    let sample = folder.path().join("sample.json");
    drain::take_sample(&ground, &sample).await;
    let sample = sample.to_str().unwrap();

    let names = ["Escrow", "reference"];
    let mut sides: [Vec<Live>; 2] = Default::default();
    for repeat in 0..wanted.repeats {
        for which in 0..2 {
            let live = together(&ground, Side::of(which, &ground, sample, events).await, events).await;
            let (rate, published) = (live.run.rate, live.published);
            eprintln!("run {}: {:<10} {rate:>7.0} events/s, published {published:.0}/s", repeat + 1, names[which]);
            sides[which].push(live);
        }
    }
    println!("publishers and program together, {events} events, {} runs, median [least..most]\n", wanted.repeats);
    print(&names, &sides);

    let rate = match wanted.rate {
        Some(rate) => rate,
        None => (drain::escrow(&ground, events).await.rate / 10.0) as u64,
    };
    let mut ways: [Vec<[f64; 4]>; 2] = Default::default();
    for _ in 0..wanted.repeats {
        for (which, ways) in ways.iter_mut().enumerate() {
            ways.push(visible(&ground, which, sample, rate.max(100)).await);
        }
    }
    println!("\nfrom publish to visible at {rate} events/s, {SAMPLES} orders a run, {} runs, ms\n", wanted.repeats);
    let rows = ["Escrow, over HTTP", "reference, in the table"].iter().zip(&ways).map(|(name, runs)| {
        let figures = (0..4).map(|figure| Runs(runs.iter().map(|run| run[figure]).collect()).shown(1));
        std::iter::once((*name).to_owned()).chain(figures).collect::<Vec<_>>()
    });
    let head = ["", "from publish: p50", "p99", "from confirm: p50", "p99"];
    table::print(&head, &rows.collect::<Vec<_>>());
}

fn print(names: &[&str], sides: &[Vec<Live>]) {
    let of = |lives: &[Live], figure: &dyn Fn(&Live) -> f64| Runs(lives.iter().map(figure).collect());
    let rows = names.iter().zip(sides).map(|(name, lives)| {
        let ratios = lives.iter().zip(&sides[1]).map(|(live, reference)| live.run.rate / reference.run.rate);
        let mut row = vec![(*name).to_owned(), of(lives, &|it| it.run.rate).shown(0)];
        row.push(of(lives, &|it| it.published).shown(0));
        row.extend((0..3).map(|process| of(lives, &|it| it.run.cpu_ms[process]).shown(3)));
        row.push(of(lives, &|it| it.publisher).shown(3));
        row.push(Runs(ratios.collect()).shown(2));
        row
    });
    let head = [
        "",
        "events/s",
        "published/s",
        "CPU ms/event: program",
        "PostgreSQL",
        "RabbitMQ",
        "publisher",
        "rate / reference",
    ];
    table::print(&head, &rows.collect::<Vec<_>>());
}

async fn together(ground: &Ground, side: Side, events: u64) -> Live {
    let mut conn = connect(&side.database).await;
    drain::settle(&mut conn).await;
    let (began, before) = (Instant::now(), cpu::seconds_of_ended_children());
    let work = Work::publish(&side.amqp, events, None);
    let publishing = tokio::spawn(async move {
        work.done().await;
        (began.elapsed().as_secs_f64(), cpu::seconds_of_ended_children())
    });
    let run = drain::watch(ground, &mut conn, events, side.pid()).await;
    let (took, after) = publishing.await.unwrap();
    side.end();
    Live { run, publisher: (after - before) * 1_000.0 / events as f64, published: events as f64 / took }
}

/// p50 and p99 from publish, p50 and p99 from confirm, in milliseconds.
async fn visible(ground: &Ground, which: usize, sample: &str, rate: u64) -> [f64; 4] {
    let seconds = (PAUSE.as_secs_f64() * 2.0 * SAMPLES as f64) as u64 + 1;
    let load = rate * seconds / 4 * 4;
    let side = Side::of(which, ground, sample, load + SAMPLES).await;
    let mut conn = connect(&side.database).await;
    let publishing = tokio::spawn(Work::publish(&side.amqp, load, Some(rate)).done());
    let service = Service::connect(&side.amqp).await;
    service.channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
    let client = reqwest::Client::new();
    let (mut from_publish, mut from_confirm) = (Vec::new(), Vec::new());
    tokio::time::sleep(Duration::from_secs(1)).await;
    for number in 0..SAMPLES {
        tokio::time::sleep(PAUSE).await;
        let order_id = load::order_id(FIRST_SAMPLE + number);
        let body = load::body(&order_id, 0);
        let message = Message { exchange: load::EXCHANGE.to_owned(), body, ..Message::default() };
        let began = Instant::now();
        load::send(&service.channel, &message).await;
        let confirmed = Instant::now();
        let deadline = began + Duration::from_mins(1);
        while !shows(&side, &client, &mut conn, &order_id).await {
            assert!(Instant::now() < deadline, "order {order_id} does not show its event");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        from_publish.push(began.elapsed().as_secs_f64() * 1_000.0);
        from_confirm.push(confirmed.elapsed().as_secs_f64() * 1_000.0);
    }
    publishing.await.unwrap();
    side.end();
    let of = |figures: &[f64]| [quantile(figures, 0.5), quantile(figures, 0.99)];
    let ([a, b], [c, d]) = (of(&from_publish), of(&from_confirm));
    [a, b, c, d]
}

async fn shows(side: &Side, client: &reqwest::Client, conn: &mut PgConnection, order_id: &str) -> bool {
    match &side.program {
        Program::Escrow(escrow) => {
            let answer = client.get(escrow.url(&format!("/v1/sagas/order/orders/{order_id}"))).send().await.unwrap();
            let found = answer.status().is_success();
            // A body that is not read would cost the connection.
            answer.bytes().await.unwrap();
            found
        }
        Program::Reference(_) => {
            let query = "SELECT EXISTS (SELECT FROM orders WHERE order_id = $1 AND saga = 'order')";
            sqlx::query_scalar(query).bind(order_id).fetch_one(conn).await.unwrap()
        }
    }
}
