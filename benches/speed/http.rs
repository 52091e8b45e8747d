//! One order by its id over HTTP beside a constant answer of the same server, idle and while ingest runs.
//!
//! ```text
//!   8 connections that stay open ──▶ /livez                        what the server can do at all
//!                                ──▶ /v1/sagas/order/orders/{id}   all ids in turn
//! ```
//!
//! The client is a process of its own; it shares the machine with the server, on both sides alike.

use std::path::Path;

use super::Wanted;
use super::ask::{Ask, Asked};
use super::drain;
use super::ground::{Ground, connect};
use super::load;
use super::table::{self, Runs};
use super::work::Work;
use crate::support::escrow::Escrow;

/// Events of the orders that are asked for.
const EVENTS: u64 = 40_000;
/// More than is published while it is asked.
const LOAD: u64 = 20_000_000;
const CONNECTIONS: u64 = 8;
const SECONDS: f64 = 5.0;

/// What a run came to.
struct Run {
    asked: Asked,
    /// Milliseconds of processor time for each answer: Escrow's, PostgreSQL's. Beside ingest, that is in it.
    cpu_ms: [f64; 2],
}

/// Measures, and prints the table.
pub async fn measure(wanted: &Wanted) {
    let ground = Ground::new(wanted.program.clone()).await;
    println!("{}\n", ground.describe().await);
    let events = wanted.events.unwrap_or(EVENTS) / 4 * 4;
    let (escrow, database, amqp) = ground.escrow(load::DEFINITION).await;
    drain::declare_exchange(&amqp).await;
    escrow.run().await;
    escrow.bound().await;
    Work::publish(&amqp, events, None).done().await;
    escrow.all_are("completed", events / 4).await;
    drain::settle(&mut connect(&database).await).await;

    let names =
        ["constant answer, idle", "one order, idle", "constant answer, beside ingest", "one order, beside ingest"];
    let mut sides: [Vec<Run>; 4] = Default::default();
    for repeat in 0..wanted.repeats {
        for (beside, names) in names.chunks(2).enumerate() {
            // Names of new orders go on after those that are asked for.
            let first_order = events + LOAD * repeat as u64 / 4;
            let load = Work::Publish { amqp: amqp.clone(), events: LOAD, steps: 4, first_order, rate: wanted.rate };
            let load = (beside == 1).then(|| load.start());
            for (which, name) in names.iter().enumerate() {
                let run = ask(&ground, &escrow, which, events / 4).await;
                eprintln!("run {}: {name}: {:?}, CPU ms {:?}", repeat + 1, run.asked, run.cpu_ms);
                sides[2 * beside + which].push(run);
            }
            if let Some(mut load) = load {
                load.kill().unwrap();
                load.wait().unwrap();
                caught_up(&escrow).await;
            }
        }
    }
    println!("{CONNECTIONS} connections, {SECONDS} s each, {} runs, median [least..most]\n", wanted.repeats);
    print(&names, &sides);
}

fn print(names: &[&str], sides: &[Vec<Run>]) {
    let of = |runs: &[Run], figure: &dyn Fn(&Run) -> f64| Runs(runs.iter().map(figure).collect());
    let rows = names.iter().zip(sides).enumerate().map(|(side, (name, runs))| {
        let constant = &sides[side / 2 * 2];
        let ratios = runs.iter().zip(constant).map(|(run, constant)| run.asked.per_second / constant.asked.per_second);
        vec![
            (*name).to_owned(),
            of(runs, &|it| it.asked.per_second).shown(0),
            of(runs, &|it| it.asked.p50_ms).shown(2),
            of(runs, &|it| it.asked.p99_ms).shown(2),
            of(runs, &|it| it.cpu_ms[0]).shown(3),
            of(runs, &|it| it.cpu_ms[1]).shown(3),
            Runs(ratios.collect()).shown(2),
        ]
    });
    let head = [
        "",
        "answers/s",
        "p50 ms",
        "p99 ms",
        "CPU ms/answer (ingest included): Escrow",
        "PostgreSQL",
        "rate / constant",
    ];
    table::print(&head, &rows.collect::<Vec<_>>());
}

async fn ask(ground: &Ground, escrow: &Escrow, which: usize, orders: u64) -> Run {
    let folder = tempfile::tempdir().unwrap();
    let figures = folder.path().join("figures.json");
    let server = escrow.url("").trim_start_matches("http://").to_owned();
    let (path, orders) = if which == 0 { ("/livez", 0) } else { ("/v1/sagas/order/orders/", orders) };
    let asking = Ask {
        server,
        path: path.to_owned(),
        orders,
        connections: CONNECTIONS,
        seconds: SECONDS,
        figures: figures.display().to_string(),
    };
    let before = ground.cpu(escrow.pid());
    Work::Ask(asking).done().await;
    let asked = Asked::read(Path::new(&figures));
    let after = ground.cpu(escrow.pid());
    let answers = asked.per_second * SECONDS;
    let cpu_ms = std::array::from_fn(|process| (after[process] - before[process]) * 1_000.0 / answers);
    Run { asked, cpu_ms }
}

/// Waits until nothing of the load is left in the tap.
async fn caught_up(escrow: &Escrow) {
    let mut last = None;
    loop {
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        let now = escrow.counts().await;
        if now.is_some() && now == last {
            break;
        }
        last = now;
    }
}
