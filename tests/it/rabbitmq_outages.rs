//! The broker in trouble: killed, restarted, starved of memory. On a broker of their own, one after the other.

use std::time::Duration;

use escrow::bus::rabbitmq::{self, Options};
use escrow::bus::{Published, Sink, Tap};
use escrow::saga::time::Moment;
use lapin::{BasicProperties, ExchangeKind};
use tokio::time::timeout;

use crate::support::rabbitmq::{Server, rough};
use crate::support::services::{PATIENCE, Service, bind, drain, next_batch, open, publication, read, until, wanted};

/// Runs what blocks where it does not stop the tests' own connections.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.expect("it does not panic")
}

/// A broker, with the right to disturb it. Taken on a thread of its own, as it may take long.
fn turn() -> (&'static Server, std::sync::MutexGuard<'static, ()>) {
    tokio::task::block_in_place(rough)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_killed_broker_everything_is_there_again_and_nothing_is_lost() {
    nothing_is_lost_when(Server::kill_9).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_stopped_broker_everything_is_there_again_and_nothing_is_lost() {
    nothing_is_lost_when(Server::stop).await;
}

#[expect(clippy::await_holding_lock, reason = "the lock is a test's turn, held by one task and never awaited")]
async fn nothing_is_lost_when(goes_down: fn(&Server)) {
    let (server, _turn) = turn();
    let url = server.vhost().url();
    let service = Service::connect(&url).await;
    service.exchange("orders", ExchangeKind::Fanout).await;
    service.queue("inbox").await;
    service.bind("inbox", "orders", "").await;
    let (tap, sink) = rabbitmq::start(&url, "test", Options::default()).unwrap();
    let mut source = open(tap.as_ref()).await;
    bind(tap.as_ref(), wanted("orders")).await;
    let confirmed = sink.publish((0..50).map(|n| publication(&n.to_string(), "orders", "")).collect()).await.unwrap();
    assert!(confirmed.iter().all(|word| *word == Published::Confirmed));
    let batch = next_batch(source.as_mut()).await.unwrap();

    // RabbitMQ 3.10 forgets a quorum queue it is killed within seconds of declaring; that is not what is tested here.
    until("the broker has written the tap down", || server.remembers("escrow.tap.test")).await;
    blocking(move || goes_down(server)).await;
    let failed = timeout(PATIENCE, async { while source.next_batch().await.is_ok() {} }).await;
    assert!(failed.is_ok(), "the source ends");
    assert!(batch.receipt.ack(true).await.is_err(), "an acknowledgement that cannot arrive is no acknowledgement");
    drop(source);
    until("both connections are known to be gone", || !tap.health().connected && !sink.is_connected()).await;
    assert!(sink.publish(vec![publication("x", "orders", "")]).await.is_err());
    assert!(tap.health().problem.is_some());

    blocking(|| server.start()).await;
    until("both connections stand again", || tap.health().connected && sink.is_connected()).await;
    let mut source = reopened(tap.as_ref()).await;
    let mut seen: Vec<u32> = drain(source.as_mut(), 50).await.iter().map(|body| body.parse().unwrap()).collect();
    assert!(seen.is_sorted(), "in order: {seen:?}");
    seen.dedup();
    assert_eq!(seen.len(), 50, "every one of them");
    bind(tap.as_ref(), wanted("orders")).await;
    assert_eq!(sink.publish(vec![publication("new", "orders", "")]).await.unwrap(), [Published::Confirmed]);
    assert_eq!(drain(source.as_mut(), 1).await, ["new"]);
    tap.close().await;
}

/// The tap, opened as often as it takes.
async fn reopened(tap: &dyn Tap) -> Box<dyn escrow::bus::Source> {
    let opening = async {
        loop {
            match tap.source().await {
                Ok(source) => return source,
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        }
    };
    timeout(PATIENCE, opening).await.expect("the tap opens again")
}

#[expect(clippy::await_holding_lock, reason = "the lock is a test's turn, held by one task and never awaited")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_blocks_publishing_does_not_hold_back_acknowledgements() {
    let (server, _turn) = turn();
    let url = server.vhost().url();
    let service = Service::connect(&url).await;
    service.exchange("orders", ExchangeKind::Fanout).await;
    let (tap, sink) = rabbitmq::start(&url, "test", Options::default()).unwrap();
    let mut source = open(tap.as_ref()).await;
    bind(tap.as_ref(), wanted("orders")).await;
    for n in 0..3_000 {
        service.send_with("orders", "", &n.to_string(), BasicProperties::default().with_delivery_mode(2)).await;
    }
    service.queue("elsewhere").await;
    blocking(|| server.ctl(&["set_vm_memory_high_watermark", "0.00000001"])).await;
    let publishing = tokio::spawn({
        let sink = std::sync::Arc::clone(&sink);
        async move { sink.publish(vec![publication("held", "orders", "")]).await }
    });
    until("the publishing connection is blocked", || tap.health().blocked).await;

    // The first batches were on their way already; the last ones can only come if acknowledgements get through.
    let mut seen = 0;
    while seen < 3_000 {
        let batch = next_batch(source.as_mut()).await.unwrap();
        seen += read(&batch.items).len();
        batch.receipt.ack(true).await.unwrap();
    }
    assert!(tap.health().blocked && tap.health().consuming);
    assert!(tap.send_canary(Moment(1), None).await.is_err(), "a canary is not queued behind an alarm");

    blocking(|| server.ctl(&["set_vm_memory_high_watermark", "0.4"])).await;
    let word = timeout(PATIENCE * 2, publishing).await.expect("it ends").unwrap().unwrap();
    assert!(matches!(word.as_slice(), [Published::Confirmed | Published::Unknown(_)]), "{word:?}");
    until("it is not blocked any longer", || !tap.health().blocked).await;
    bind(tap.as_ref(), wanted("orders")).await;
    assert_eq!(sink.publish(vec![publication("free", "orders", "")]).await.unwrap(), [Published::Confirmed]);
    tap.close().await;
}
