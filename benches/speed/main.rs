//! What Escrow's whole job costs beside the bare minimum of it, both sides from one run.
//!
//! ```text
//!   cargo bench --bench speed -- SCENARIO [--events N] [--repeats N] [--rate N] [--program PATH]
//!
//!   load ──▶ quorum queue ──▶ Escrow       (the release build of the program)   ──▶ its tables
//!                        └──▶ reference    (the same rows and bytes, no logic)  ──▶ its tables
//!                        └──▶ one by one   (a transaction for each event)       ──▶ its tables
//! ```
//!
//! | scenario    | what is measured                                             | beside                                   |
//! |-------------|--------------------------------------------------------------|------------------------------------------|
//! | `drain`     | a backlog is drained                                         | the reference, and one by one            |
//! | `live`      | the same while publishers run; then publish to visible       | the reference under the same load        |
//! | `deadlines` | how late deadlines fire, and how long a storm of them takes  | what the tap lags; the ingest alone      |
//! | `outbox`    | messages published and settled                               | a bare confirmed publisher, same bodies  |
//! | `http`      | one order by its id, idle and beside ingest                  | a constant answer of the same server     |
//! | `sqlite`    | a backlog is drained into SQLite                             | a bare loop with the same statements     |
//!
//! Every side has a virtual host and a database of its own on the same servers, which this starts and ends. Sides take turns,
//! so that whatever else the machine does hits all alike. It judges nothing: it prints medians, the spread, the processor
//! time of each process, and the ratios. `--events` is the size of a run (bookings, for `deadlines`), `--rate` slows the
//! publishers of the load down.
#![expect(clippy::unwrap_used, reason = "a measurement that cannot go on should say where")]
#![expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "figures of a measurement are small, and not below zero"
)]
#![allow(dead_code, reason = "the tests' own servers bring more than is measured here")]

#[path = "../../tests/support/mod.rs"]
mod support;

mod ask;
mod cpu;
mod deadlines;
mod drain;
mod ground;
mod http;
mod live;
mod load;
mod one_by_one;
mod outbox;
mod reference;
mod sample;
mod sqlite;
mod table;
mod work;

/// What to run, and how much of it.
struct Wanted {
    scenario: String,
    events: Option<u64>,
    repeats: usize,
    /// Events published a second, where the scenario has a publisher that may be slowed.
    rate: Option<u64>,
    /// Another build of the program, to compare two of them.
    program: Option<std::path::PathBuf>,
}

fn main() {
    let mut words = std::env::args().skip(1).filter(|word| word != "--bench");
    let scenario = words.next().unwrap_or_else(|| "drain".to_owned());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    if scenario == "work" {
        // One side of a scenario, as a process of its own, so that its processor time is its own.
        let order = words.next().expect("the orders of a side, as JSON");
        return runtime.block_on(work::run(&serde_json::from_str(&order).unwrap()));
    }
    let mut wanted = Wanted { scenario, events: None, repeats: 3, rate: None, program: None };
    while let Some(word) = words.next() {
        let value = words.next().unwrap_or_default();
        match (word.as_str(), value.parse::<u64>().ok()) {
            ("--events", Some(number)) => wanted.events = Some(number),
            ("--repeats", Some(number)) => wanted.repeats = usize::try_from(number).unwrap(),
            ("--rate", Some(number)) => wanted.rate = Some(number),
            ("--program", _) => wanted.program = Some(value.into()),
            _ => panic!("`{word} {value}` is not understood: --events N, --repeats N, --rate N, --program PATH"),
        }
    }
    runtime.block_on(async {
        match wanted.scenario.as_str() {
            "drain" => drain::measure(&wanted).await,
            "deadlines" => deadlines::measure(&wanted).await,
            "live" => live::measure(&wanted).await,
            "outbox" => outbox::measure(&wanted).await,
            "http" => http::measure(&wanted).await,
            "sqlite" => sqlite::measure(&wanted).await,
            other => panic!("there is no scenario `{other}`: drain, live, deadlines, outbox, http, sqlite"),
        }
    });
}
