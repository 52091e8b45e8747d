//! A binding goes when no open order's version needs it, and in doubt it stays.

use std::sync::Arc;

use escrow::bus::memory::{Kind, MemoryTap};
use escrow::bus::{BusError, Envelope, Look, Source, Tap, TapHealth, Wanted};
use escrow::saga::time::{Moment, Span};
use escrow::store::Store;
use escrow::worker::looks::{Looks, hold_unbound};
use escrow::worker::{Escrow, Worker as _, definitions};
use futures_util::future::BoxFuture;
use serde_json::json;

use super::bed::{Bed, TAP};

/// Which exchanges, and which of their keys.
fn saga(version: u32, watch: &str) -> String {
    format!(
        "saga: order\nversion: {version}\nwatch: [{watch}, {{ http: {{ read: {{ event: /type, order_id: /order }} }} }}]\n\
         read: {{ event: /type, order_id: /order }}\nsteps:\n  placed: {{ done: Placed }}\n  paid: {{ after: placed, done: Paid }}\n"
    )
}

const BOTH: &str = "{ exchange: shop, keys: [paid, placed] }";
const ONE: &str = "{ exchange: shop, keys: [placed] }";

struct Stage {
    bed: Bed,
    escrow: Arc<Escrow>,
    looks: Looks,
}

impl Stage {
    async fn new(exchanges: &[&str], first: &str) -> Self {
        let bed = Bed::new(&[]).await;
        for exchange in exchanges {
            bed.bus.declare_exchange(exchange, Kind::Topic);
        }
        bed.propose(&saga(1, first)).await;
        let tap = bed.bus.tap("test");
        Self::over(bed, tap).await
    }

    async fn over(bed: Bed, tap: Arc<dyn Tap>) -> Self {
        let catalog = definitions::load(bed.truth.as_ref()).await.unwrap();
        let escrow = Escrow::new(Arc::clone(&bed.truth), Arc::new(catalog), Arc::default());
        let escrow = Arc::new(escrow);
        hold_unbound(&escrow, TAP).await.unwrap();
        let mut stage = Self { looks: Looks::new(Arc::clone(&escrow), tap), bed, escrow };
        stage.look().await;
        stage
    }

    async fn look(&mut self) {
        definitions::refresh(&self.escrow).await.unwrap();
        self.looks.run_once().await.unwrap();
    }

    /// Another version is applied, bound, and settled.
    async fn raise(&mut self, watch: &str) {
        self.bed.propose(&saga(2, watch)).await;
        self.look().await;
        assert_eq!(self.escrow.catalog().newest("order").unwrap().version, 2);
    }

    async fn later(&mut self) {
        self.bed.clock.advance(Span::from_secs(11 * 60));
        self.look().await;
    }

    /// Whether what is published there reaches the tap.
    fn reaches(&self, exchange: &str, key: &str) -> bool {
        let before = self.bed.bus.depth(TAP);
        self.bed.bus.send(exchange, key, Envelope::default(), b"{}".to_vec());
        self.bed.bus.depth(TAP) != before
    }

    async fn keys(&self, exchange: &str) -> Option<Vec<String>> {
        let rows = self.bed.truth.bindings(TAP.to_owned()).await.unwrap();
        rows.into_iter().find(|row| row.exchange == exchange).and_then(|row| row.keys)
    }

    /// An event over HTTP, applied by an Escrow of its own.
    async fn post(&self, name: &str, order: &str) {
        let running = self.bed.start(false).await;
        let event = json!({"type": name, "order": order});
        let call = reqwest::Client::new().post(format!("http://{}/v1/events", running.address));
        let event =
            json!({"specversion": "1.0", "type": name, "source": "/shop", "subject": order, "id": name, "data": event});
        let call = call.header("content-type", "application/cloudevents+json").body(event.to_string());
        let answer = call.send().await.unwrap();
        assert_eq!(answer.status().as_u16(), 202, "{}", answer.text().await.unwrap());
        running.stop().await;
    }
}

#[tokio::test]
async fn keys_that_only_an_old_version_needs_go_with_its_last_open_order() {
    let mut stage = Stage::new(&["shop"], BOTH).await;
    stage.post("Placed", "1").await;
    assert_eq!(stage.bed.shown("1").await, "running: done, waiting");
    assert_eq!(stage.keys("shop").await.unwrap(), ["paid", "placed"]);
    stage.raise(ONE).await;
    stage.later().await;
    assert!(stage.reaches("shop", "paid"), "an open order needs it");
    stage.post("Paid", "1").await;
    assert_eq!(stage.bed.shown("1").await, "completed: done, done");
    stage.later().await;
    assert!(!stage.reaches("shop", "paid") && stage.reaches("shop", "placed"));
    assert_eq!(stage.keys("shop").await.unwrap(), ["placed"]);
    // Going back binds them again before an order opens.
    stage.bed.truth.apply_version("order".to_owned(), 1, "ann".to_owned(), "why".to_owned()).await.unwrap();
    definitions::refresh(&stage.escrow).await.unwrap();
    assert_eq!(stage.escrow.catalog().newest("order").unwrap().version, 2, "its bindings do not stand");
    let other = Stage::over(stage.bed, Arc::new(Blind)).await;
    assert_eq!(other.escrow.catalog().newest("order").unwrap().version, 2, "nor for one that begins now");
    let tap = other.bed.bus.tap("test");
    let stage = Stage::over(other.bed, tap).await;
    assert_eq!(stage.escrow.catalog().newest("order").unwrap().version, 1);
    assert!(stage.reaches("shop", "paid"));
}

#[tokio::test]
async fn a_version_just_replaced_keeps_its_bindings_for_a_while() {
    let mut stage = Stage::new(&["shop"], BOTH).await;
    stage.raise(ONE).await;
    stage.bed.clock.advance(Span::from_secs(9 * 60));
    stage.look().await;
    assert!(stage.reaches("shop", "paid"), "another replica may not have noticed yet");
    stage.later().await;
    assert!(!stage.reaches("shop", "paid"));
}

#[tokio::test]
async fn the_last_binding_to_an_exchange_that_may_be_auto_delete_stays() {
    let declared = "{ exchange: old, keys: [x], declare: { type: topic, durable: true } }";
    let mut stage =
        Stage::new(&["shop"], &format!("{ONE}, {{ exchange: unknown, keys: [x] }}, {declared}, {{ exchange: never }}"))
            .await;
    stage.bed.bus.declare_exchange("unknown", Kind::Topic);
    stage.look().await;
    assert!(stage.reaches("unknown", "x") && stage.reaches("old", "x"));
    let doubts = stage.bed.truth.doubts(10).await.unwrap();
    stage.raise(ONE).await;
    stage.later().await;
    assert!(stage.reaches("unknown", "x"), "nobody knows whether it would be gone with it");
    assert!(!stage.reaches("old", "x"), "this one is said to stay");
    // What is not there, and not watched, holds nothing back and is no gap when it comes.
    assert_eq!(stage.keys("old").await, None);
    stage.bed.bus.declare_exchange("never", Kind::Topic);
    stage.later().await;
    let rows = stage.bed.truth.bindings(TAP.to_owned()).await.unwrap();
    assert_eq!(rows.iter().map(|row| row.exchange.as_str()).collect::<Vec<_>>(), ["shop", "unknown"]);
    assert_eq!(stage.bed.truth.doubts(10).await.unwrap(), doubts);
}

#[tokio::test]
async fn a_binding_needed_after_all_is_back_at_once_and_what_came_between_is_a_gap() {
    let stage = Stage::new(&["shop"], BOTH).await;
    let (inner, store) = (stage.bed.bus.tap("test"), Arc::clone(&stage.bed.truth));
    let mut stage = Stage::over(stage.bed, Arc::new(Meddling { inner, store })).await;
    stage.raise(ONE).await;
    stage.later().await;
    assert!(stage.reaches("shop", "paid"));
    let doubts = stage.bed.truth.doubts(10).await.unwrap();
    assert_eq!(doubts.iter().map(|doubt| doubt.saga.as_deref()).collect::<Vec<_>>(), [Some("order")]);
    stage.look().await;
    assert_eq!(stage.keys("shop").await.unwrap(), ["paid", "placed"]);
}

#[tokio::test]
async fn what_a_replica_wrote_before_it_died_is_mended_by_one_that_never_saw_it() {
    let mut stage = Stage::new(&["shop"], BOTH).await;
    let catalog = definitions::load(stage.bed.truth.as_ref()).await.unwrap();
    let escrow = Escrow::new(Arc::clone(&stage.bed.truth), Arc::new(catalog), Arc::default());
    let mut other = Looks::new(Arc::new(escrow), stage.bed.bus.tap("test"));
    other.run_once().await.unwrap();
    stage.bed.clock.advance(Span::from_secs(60));
    let away_at = stage.bed.truth.now().await.unwrap();
    stage.bed.bus.delete_exchange("shop");
    other.run_once().await.unwrap();
    drop(other);
    stage.bed.bus.declare_exchange("shop", Kind::Topic);
    let row = async |stage: &Stage| stage.bed.truth.bindings(TAP.to_owned()).await.unwrap().remove(0);
    assert!(!row(&stage).await.bound, "what the dead one wrote");
    stage.look().await;
    let mended = row(&stage).await;
    assert!(mended.bound && mended.problem.is_none() && mended.bound_at >= Some(away_at), "{mended:?}");
    assert_eq!(stage.keys("shop").await.unwrap(), ["paid", "placed"]);
    let doubts = stage.bed.truth.doubts(10).await.unwrap();
    assert_eq!(doubts.iter().map(|doubt| doubt.saga.as_deref()).collect::<Vec<_>>(), [Some("order")], "a gap");
    stage.look().await;
    assert_eq!(stage.bed.truth.doubts(10).await.unwrap(), doubts, "once");
}

/// While the tap is being unbound, a person goes back to the version that needs it.
struct Meddling {
    inner: Arc<MemoryTap>,
    store: Arc<dyn Store>,
}

/// A tap whose broker is away.
struct Blind;

fn gone<T: Send + 'static>() -> BoxFuture<'static, Result<T, BusError>> {
    Box::pin(async { Err(BusError::Disconnected("away".to_owned())) })
}

impl Tap for Blind {
    fn name(&self) -> &str {
        TAP
    }

    fn source(&self) -> BoxFuture<'_, Result<Box<dyn Source>, BusError>> {
        gone()
    }

    fn send_canary(&self, _: Moment, _: Option<Moment>) -> BoxFuture<'_, Result<(), BusError>> {
        gone()
    }

    fn look(&self, wanted: Vec<Wanted>) -> BoxFuture<'_, Result<Vec<Look>, BusError>> {
        let problem = Some("away".to_owned());
        let look =
            move |it: Wanted| Look { exchange: it.exchange, found: true, bound: false, problem: problem.clone() };
        Box::pin(async move { Ok(wanted.into_iter().map(look).collect()) })
    }

    fn unbind(&self, _: String, _: Vec<String>) -> BoxFuture<'_, Result<(), BusError>> {
        gone()
    }

    fn health(&self) -> TapHealth {
        TapHealth::default()
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }
}

impl Tap for Meddling {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn source(&self) -> BoxFuture<'_, Result<Box<dyn Source>, BusError>> {
        self.inner.source()
    }

    fn send_canary(&self, sent_at: Moment, carried: Option<Moment>) -> BoxFuture<'_, Result<(), BusError>> {
        self.inner.send_canary(sent_at, carried)
    }

    fn look(&self, wanted: Vec<Wanted>) -> BoxFuture<'_, Result<Vec<Look>, BusError>> {
        self.inner.look(wanted)
    }

    fn unbind(&self, exchange: String, keys: Vec<String>) -> BoxFuture<'_, Result<(), BusError>> {
        Box::pin(async move {
            self.store.apply_version("order".to_owned(), 1, "ann".to_owned(), "why".to_owned()).await.unwrap();
            self.inner.unbind(exchange, keys).await
        })
    }

    fn health(&self) -> TapHealth {
        self.inner.health()
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        self.inner.close()
    }
}
