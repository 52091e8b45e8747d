//! Deadlines: how late they fire, and how long a storm of them takes.
//!
//! ```text
//!   bookings, each with the moment it is due ──▶ Escrow ──▶ journal: `deadline`, at     lateness = at - due
//!   another saga's load, on the same tap ──────▶                                        beyond the tap = at - max(due, watermark passed due)
//! ```
//!
//! A booking's event says when it is due, so the moments are spread as wanted whatever the load does to the way there. No
//! deadline may fire before all that was published until then is read, so what the tap lags behind is part of the lateness;
//! it is told apart by watching the stored watermark. The reference of a storm is the ingest alone, just before it.

use std::process::Child;
use std::time::Duration;

use lapin::ExchangeKind;
use sqlx::{PgConnection, Row as _};

use super::Wanted;
use super::drain;
use super::ground::{Ground, connect};
use super::load;
use super::table::{self, Runs, quantile};
use super::work::Work;
use crate::support::escrow::Escrow;
use crate::support::services::Service;

/// Deadlines that come due within a second.
const SPREAD: u64 = 1_000;
/// Deadlines that come due at one moment.
const STORM: u64 = 100_000;
/// More than is published until the last deadline has fired.
const LOAD: u64 = 20_000_000;
/// How long before the first deadline the load begins.
const AHEAD: i64 = 5_000_000;
/// The last part of that, in which the ingest alone is counted.
const ALONE: i64 = 3_000_000;
/// Bookings taken in a second by the slowest machine this should work on.
const BOOKED_PER_SECOND: i64 = 2_000;
/// Where bookings are published.
pub const EXCHANGE: &str = "bookings";
/// Where they are asked to be released; a queue is bound there, because nobody listening would be another story.
const UNDO: &str = "undo";

const BOOKING: &str = "\
saga: booking
version: 1
watch: [{ exchange: bookings }]
read: { event: /event_type, order_id: /data/order_id }
brake: none
steps:
  booked:
    done: Booked
    compensation:
      publish:
        event: ReleaseBooking
        exchange: undo
        body: { event_type: ReleaseBooking, data: { order_id: \"{{ order_id }}\", reason: \"{{ reason }}\" } }
  used:
    after: booked
    done: Used
    within: \"{{ timestamp(steps.booked.event.data.due) }}\"
    on_timeout: compensate
";

/// The bookings, as their service publishes them: due from `first_due` on, `apart` microseconds one after the other.
pub fn messages(bookings: u64, first_due: i64, apart: i64) -> impl Iterator<Item = load::Message> {
    (0..bookings).map(move |number| {
        let due = jiff::Timestamp::from_microsecond(due(number, first_due, apart)).unwrap();
        let order_id = load::order_id(number);
        let body = format!(r#"{{"event_type":"Booked","data":{{"order_id":"{order_id}","due":"{due}"}}}}"#);
        load::Message { exchange: EXCHANGE.to_owned(), body, ..load::Message::default() }
    })
}

fn due(number: u64, first_due: i64, apart: i64) -> i64 {
    first_due + i64::try_from(number).unwrap() * apart
}

/// Measures, and prints the tables.
pub async fn measure(wanted: &Wanted) {
    let ground = Ground::new(wanted.program.clone()).await;
    println!("{}\n", ground.describe().await);
    let storm = wanted.events.unwrap_or(STORM);
    let spread = SPREAD.min(storm);
    let names = ["idle", "beside ingest"];
    let mut sides: [Vec<Lateness>; 2] = Default::default();
    let mut storms = Vec::new();
    for repeat in 0..wanted.repeats {
        for (side, name) in names.iter().enumerate() {
            let late = lateness(&ground, spread, side == 1, wanted.rate).await;
            eprintln!("run {}: {name}: {late:?}", repeat + 1);
            sides[side].push(late);
        }
        let fired = storms_fire(&ground, storm, wanted.rate).await;
        eprintln!("run {}: storm: {fired:?}", repeat + 1);
        storms.push(fired);
    }
    println!("{spread} deadlines due within one second, {} runs, ms, median [least..most]\n", wanted.repeats);
    let rows = names.iter().zip(&sides).map(|(name, runs)| {
        let of = |figure: &dyn Fn(&Lateness) -> f64| Runs(runs.iter().map(figure).collect()).shown(1);
        let figures = [of(&|it| it.beyond[0]), of(&|it| it.beyond[1]), of(&|it| it.all[0]), of(&|it| it.all[1])];
        let ingest = Runs(runs.iter().map(|it| it.ingest).collect()).shown(0);
        std::iter::once((*name).to_owned()).chain(figures).chain([ingest]).collect::<Vec<_>>()
    });
    let head = ["", "late beyond the tap: p50", "p99", "late in all: p50", "p99", "events/s applied meanwhile"];
    table::print(&head, &rows.collect::<Vec<_>>());

    println!("\n{storm} deadlines due at one moment beside ingest, no brake, {} runs\n", wanted.repeats);
    let of = |figure: &dyn Fn(&Storm) -> f64, digits| Runs(storms.iter().map(figure).collect()).shown(digits);
    let row = [
        of(&|it| it.tap, 1),
        of(&|it| it.fired, 1),
        of(&|it| it.before, 0),
        of(&|it| it.during, 0),
        of(&|it| it.during / it.before, 2),
    ];
    let head = [
        "s from due to the first fired",
        "s from the first to the last",
        "events/s before",
        "events/s during",
        "during / before",
    ];
    table::print(&head, &[row.to_vec()]);
}

/// p50 and p99 in milliseconds.
#[derive(Debug)]
struct Lateness {
    all: [f64; 2],
    /// Beyond the moment the watermark was seen to have passed the deadline.
    beyond: [f64; 2],
    /// Other events applied a second, from the first deadline to the last fired.
    ingest: f64,
}

async fn lateness(ground: &Ground, bookings: u64, beside: bool, rate: Option<u64>) -> Lateness {
    let mut scene = Scene::new(ground).await;
    let apart = 1_000_000 / i64::try_from(bookings).unwrap();
    let first_due = scene.book(bookings, apart).await;
    scene.sleep_until(first_due - AHEAD).await;
    let load = beside.then(|| Work::publish(&scene.amqp, LOAD, rate).start());
    scene.sleep_until(first_due - 100_000).await;
    let mut watching = connect(&scene.database).await;
    let (stop, mut stopped) = tokio::sync::oneshot::channel::<()>();
    let watch = tokio::spawn(async move {
        let mut seen: Vec<(i64, i64)> = Vec::new();
        while stopped.try_recv().is_err() {
            seen.push(watermark(&mut watching).await);
            tokio::time::sleep(Duration::from_millis(3)).await;
        }
        seen
    });
    let fired = scene.fired(bookings).await;
    stop.send(()).unwrap();
    let seen = watch.await.unwrap();
    let last = fired.iter().map(|it| it.1).max().unwrap();
    let ingest = scene.ingest(first_due, last).await;
    scene.end(load);
    let (mut all, mut beyond) = (Vec::new(), Vec::new());
    for (number, at) in fired {
        let due = due(number, first_due, apart);
        let passed = seen.iter().find(|(_, watermark)| *watermark >= due).map_or(at, |it| it.0.max(due));
        all.push((at - due) as f64 / 1_000.0);
        // It may fire before the watch looks again.
        beyond.push((at - passed).max(0) as f64 / 1_000.0);
    }
    let of = |figures: &[f64]| [quantile(figures, 0.5), quantile(figures, 0.99)];
    Lateness { all: of(&all), beyond: of(&beyond), ingest }
}

#[derive(Debug)]
struct Storm {
    /// Seconds until the first fired: what the tap lagged behind.
    tap: f64,
    /// Seconds from the first to the last.
    fired: f64,
    /// Other events applied a second, before the storm and in it.
    before: f64,
    during: f64,
}

async fn storms_fire(ground: &Ground, bookings: u64, rate: Option<u64>) -> Storm {
    let mut scene = Scene::new(ground).await;
    let due = scene.book(bookings, 0).await;
    scene.sleep_until(due - AHEAD).await;
    let load = Work::publish(&scene.amqp, LOAD, rate).start();
    let fired = scene.fired(bookings).await;
    let (first, last) = (fired.iter().map(|it| it.1).min().unwrap(), fired.iter().map(|it| it.1).max().unwrap());
    let (before, during) = (scene.ingest(due - ALONE, due).await, scene.ingest(first, last).await);
    let asked = "SELECT count(*) FROM outbox WHERE saga = 'booking' AND asks";
    let asked: i64 = sqlx::query_scalar(asked).fetch_one(&mut scene.conn).await.unwrap();
    assert_eq!(u64::try_from(asked).unwrap(), bookings, "each asks for its compensation in the same transaction");
    scene.end(Some(load));
    let seconds = |span: i64| span as f64 / 1_000_000.0;
    Storm { tap: seconds(first - due), fired: seconds(last - first), before, during }
}

/// An Escrow that follows bookings, and the other saga's orders on the same tap.
struct Scene {
    escrow: Escrow,
    database: String,
    amqp: String,
    conn: PgConnection,
}

impl Scene {
    async fn new(ground: &Ground) -> Self {
        let (database, amqp) = (ground.postgres.database().await, ground.rabbitmq.vhost().url());
        let escrow = Escrow::with_sagas(&[("order", load::DEFINITION), ("booking", BOOKING)], &database, &amqp);
        let escrow = escrow.program(ground.program.clone()).with("RUST_LOG", "warn");
        let service = drain::declare_exchange(&amqp).await;
        service.exchange(EXCHANGE, ExchangeKind::Fanout).await;
        listen(&service).await;
        escrow.run().await;
        escrow
            .until("every exchange of both sagas is bound", async || {
                let status = escrow.get("/v1/status").await?;
                let sagas = status["sagas"].as_array()?;
                let bound = |saga: &serde_json::Value| {
                    saga["unbound"].as_object().is_some_and(serde_json::Map::is_empty) && !saga["watermark"].is_null()
                };
                (sagas.len() == 2 && sagas.iter().all(bound)).then_some(())
            })
            .await;
        let conn = connect(&database).await;
        Self { escrow, database, amqp, conn }
    }

    /// Publishes bookings, waits until all are taken, and answers the moment the first is due.
    async fn book(&mut self, bookings: u64, apart: i64) -> i64 {
        let most = i64::try_from(bookings).unwrap() / BOOKED_PER_SECOND + 5;
        let first_due = self.now().await + most * 1_000_000 + AHEAD;
        Work::Book { amqp: self.amqp.clone(), bookings, first_due, apart }.done().await;
        loop {
            let query = "SELECT count(*) FROM orders WHERE saga = 'booking'";
            let booked: i64 = sqlx::query_scalar(query).fetch_one(&mut self.conn).await.unwrap();
            if u64::try_from(booked).unwrap() == bookings {
                break;
            }
            assert!(self.now().await < first_due - AHEAD, "{booked} of {bookings} bookings are taken: raise the time");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        drain::settle(&mut self.conn).await;
        first_due
    }

    async fn now(&mut self) -> i64 {
        sqlx::query_scalar("SELECT escrow_now()").fetch_one(&mut self.conn).await.unwrap()
    }

    async fn sleep_until(&mut self, moment: i64) {
        let wait = moment - self.now().await;
        tokio::time::sleep(Duration::from_micros(u64::try_from(wait).unwrap_or_default())).await;
    }

    /// Waits until all deadlines have fired, and answers when each did.
    async fn fired(&mut self, bookings: u64) -> Vec<(u64, i64)> {
        let deadline = tokio::time::Instant::now() + Duration::from_mins(5);
        loop {
            let count = "SELECT count(*) FROM journal WHERE kind = 'deadline' AND at > escrow_now() - 600000000";
            let count: i64 = sqlx::query_scalar(count).fetch_one(&mut self.conn).await.unwrap();
            if u64::try_from(count).unwrap() >= bookings {
                break;
            }
            // When each fired stands in the journal, so there is no hurry to look.
            assert!(tokio::time::Instant::now() < deadline, "only {count} of {bookings} deadlines fired");
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        let fired = "SELECT order_id, at FROM journal WHERE kind = 'deadline' AND saga = 'booking'";
        let rows = sqlx::query(fired).fetch_all(&mut self.conn).await.unwrap();
        let number = |id: &str| id.rsplit('-').next().unwrap().parse().unwrap();
        rows.iter().map(|row| (number(row.get(0)), row.get(1))).collect()
    }

    /// The other saga's events applied a second between two moments.
    async fn ingest(&mut self, from: i64, to: i64) -> f64 {
        let query = "SELECT count(*) FROM journal WHERE saga = 'order' AND kind = 'event' AND at >= $1 AND at < $2";
        let count: i64 = sqlx::query_scalar(query).bind(from).bind(to).fetch_one(&mut self.conn).await.unwrap();
        count as f64 * 1_000_000.0 / (to - from).max(1) as f64
    }

    fn end(self, load: Option<Child>) {
        if let Some(mut load) = load {
            load.kill().unwrap();
            load.wait().unwrap();
        }
        self.escrow.kill_9();
    }
}

/// What asks for compensations is heard.
pub async fn listen(service: &Service) {
    service.exchange(UNDO, ExchangeKind::Fanout).await;
    drain::declare_queue(service, UNDO).await;
    service.bind(UNDO, UNDO, "").await;
}

/// Now, and what the tap's watermark was then.
async fn watermark(conn: &mut PgConnection) -> (i64, i64) {
    let query = "SELECT escrow_now(), coalesce(max(watermark), 0) FROM taps";
    let row = sqlx::query(query).fetch_one(conn).await.unwrap();
    (row.get(0), row.get(1))
}
