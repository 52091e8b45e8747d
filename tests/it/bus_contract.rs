//! What every bus promises, as cases that run on the bus in memory and on RabbitMQ.

use std::sync::Arc;
use std::time::Duration;

use escrow::bus::memory::{Kind, MemoryBus, Subscription};
use escrow::bus::rabbitmq as amqp;
use escrow::bus::{Item, Published, Sink, Tap, Wanted};
use escrow::saga::definition::Declare;
use escrow::saga::queue::Found;
use escrow::saga::time::Moment;
use lapin::{Consumer, ExchangeKind};
use tokio::time::timeout;

use crate::support::rabbitmq::shared;
use crate::support::services::{
    PATIENCE, Service, bind, drain, next_batch, open, publication, read, receive, retry, until, wanted,
};

/// A bus with Escrow's two ends, and a service on it.
struct Bus {
    tap: Arc<dyn Tap>,
    sink: Arc<dyn Sink>,
    service: Peer,
}

/// A service, on either bus.
enum Peer {
    Memory(MemoryBus),
    Rabbit(Box<Service>),
}

/// A service's consumer, on either bus.
enum Reader {
    Memory(Subscription),
    Rabbit(Consumer),
}

macro_rules! contract {
    ($($case:ident)*) => {
        mod memory {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                super::$case(super::in_memory()).await;
            })*
        }
        mod rabbitmq {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                super::$case(super::on_rabbitmq().await).await;
            })*
        }
    };
}

contract! {
    deliveries_come_in_order_with_where_they_came_from
    a_canary_comes_behind_everything_sent_before_it
    a_batch_given_up_comes_again_in_order_and_flagged
    an_acknowledged_batch_does_not_come_again
    batches_may_be_taken_ahead_and_acknowledged_in_order
    a_cancelled_wait_loses_nothing
    an_absent_exchange_is_said_to_be_absent_and_bound_once_it_appears
    a_binding_that_went_with_its_exchange_comes_back
    an_absent_exchange_is_declared_where_the_definition_says_how
    only_the_wanted_keys_are_bound
    an_unbound_key_is_no_longer_seen
    a_publication_is_confirmed_only_if_somebody_is_bound
    a_missing_exchange_is_refused_and_its_neighbours_are_not
    a_retry_reaches_only_a_queue_that_can_take_it
    a_look_at_a_queue_tells_how_it_is_and_changes_nothing
    a_second_source_stands_by_until_the_first_is_gone
    a_closed_tap_ends_its_sources
}

fn in_memory() -> Bus {
    let bus = MemoryBus::default();
    Bus { tap: bus.tap("test"), sink: Arc::new(bus.clone()), service: Peer::Memory(bus) }
}

async fn on_rabbitmq() -> Bus {
    let url = shared().vhost().url();
    let (tap, sink) = amqp::start(&url, "test", amqp::Options::default()).expect("the URL is right");
    until("both connections stand", || tap.health().connected && sink.is_connected()).await;
    Bus { tap, sink, service: Peer::Rabbit(Box::new(Service::connect(&url).await)) }
}

impl Bus {
    /// A topic exchange with the tap bound to it, and a source that consumes.
    async fn ready(&self, exchange: &str) -> Box<dyn escrow::bus::Source> {
        self.service.exchange(exchange, Kind::Topic).await;
        let source = open(self.tap.as_ref()).await;
        bind(self.tap.as_ref(), wanted(exchange)).await;
        source
    }
}

impl Peer {
    async fn exchange(&self, name: &str, kind: Kind) {
        let amqp = match kind {
            Kind::Direct => ExchangeKind::Direct,
            Kind::Fanout => ExchangeKind::Fanout,
            Kind::Topic => ExchangeKind::Topic,
        };
        match self {
            Self::Memory(bus) => bus.declare_exchange(name, kind),
            Self::Rabbit(service) => service.exchange(name, amqp).await,
        }
    }

    async fn delete_exchange(&self, name: &str) {
        match self {
            Self::Memory(bus) => bus.delete_exchange(name),
            Self::Rabbit(service) => {
                let call =
                    service.channel.exchange_delete(name.into(), lapin::options::ExchangeDeleteOptions::default());
                call.await.expect("the exchange is deleted");
            }
        }
    }

    async fn queue(&self, name: &str, exchange: &str, key: &str) {
        match self {
            Self::Memory(bus) => {
                bus.declare_queue(name);
                assert!(bus.bind(name, exchange, key));
            }
            Self::Rabbit(service) => {
                service.queue(name).await;
                service.bind(name, exchange, key).await;
            }
        }
    }

    async fn send(&self, exchange: &str, key: &str, body: &str) {
        match self {
            Self::Memory(bus) => {
                bus.send(exchange, key, escrow::bus::Envelope::default(), body.into());
            }
            Self::Rabbit(service) => service.send(exchange, key, body).await,
        }
    }

    async fn consume(&self, queue: &str) -> Reader {
        match self {
            Self::Memory(bus) => Reader::Memory(bus.subscribe(queue).expect("the queue is there")),
            Self::Rabbit(service) => Reader::Rabbit(service.consume(queue).await),
        }
    }
}

impl Reader {
    async fn next(&mut self) -> String {
        match self {
            Self::Memory(subscription) => {
                let next = timeout(PATIENCE, subscription.next()).await.expect("a message comes");
                let received = next.expect("the queue stays");
                let body = String::from_utf8(received.delivery.body.clone()).expect("it is text");
                received.ack();
                body
            }
            Self::Rabbit(consumer) => String::from_utf8(receive(consumer).await.data).expect("it is text"),
        }
    }
}

async fn deliveries_come_in_order_with_where_they_came_from(bus: Bus) {
    let mut source = bus.ready("orders").await;
    bus.service.send("orders", "order.placed", "1").await;
    bus.service.send("orders", "order.paid", "2").await;
    let mut items = Vec::new();
    while items.len() < 2 {
        let batch = next_batch(source.as_mut()).await.unwrap();
        assert_eq!(batch.tap.as_deref(), Some("escrow.tap.test"));
        items.extend(batch.items);
        batch.receipt.ack(true).await.unwrap();
    }
    let seen: Vec<_> = items
        .iter()
        .map(|item| match item {
            Item::Delivery(one) => {
                (one.exchange.as_str(), one.routing_key.as_str(), one.body.as_slice(), one.redelivered)
            }
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(
        seen,
        [("orders", "order.placed", b"1".as_slice(), false), ("orders", "order.paid", b"2".as_slice(), false)]
    );
    bus.tap.close().await;
}

async fn a_canary_comes_behind_everything_sent_before_it(bus: Bus) {
    let mut source = bus.ready("orders").await;
    let mut expected = Vec::new();
    for round in 0..3_i64 {
        for n in 0..20 {
            let body = format!("{round}.{n}");
            bus.service.send("orders", "order.placed", &body).await;
            expected.push(body);
        }
        if let Peer::Rabbit(service) = &bus.service {
            // Sent is not yet enqueued: a synchronous call on the same channel waits for that.
            service.queue("elsewhere").await;
        }
        bus.tap.send_canary(Moment(round), Some(Moment(round - 1))).await.unwrap();
        expected.push(format!("canary {round}"));
    }
    assert_eq!(drain(source.as_mut(), expected.len()).await, expected);
    bus.service.send("orders", "order.placed", "last").await;
    let batch = next_batch(source.as_mut()).await.unwrap();
    assert!(batch.lag.is_some(), "the canaries that came back say how long they took");
    bus.tap.close().await;
}

async fn a_batch_given_up_comes_again_in_order_and_flagged(bus: Bus) {
    let mut source = bus.ready("orders").await;
    for body in ["1", "2", "3"] {
        bus.service.send("orders", "", body).await;
    }
    let batch = next_batch(source.as_mut()).await.unwrap();
    assert!(!batch.items.is_empty());
    drop(batch);
    assert!(source.next_batch().await.is_err(), "what comes after a batch given up must not be applied before it");
    drop(source);
    let mut source = bus.tap.source().await.unwrap();
    let batch = next_batch(source.as_mut()).await.unwrap();
    match &batch.items[0] {
        Item::Delivery(first) => assert!(first.redelivered && first.body == b"1", "{first:?}"),
        other => panic!("{other:?}"),
    }
    let mut seen = read(&batch.items);
    batch.receipt.ack(true).await.unwrap();
    seen.extend(drain(source.as_mut(), 3 - seen.len()).await);
    assert_eq!(seen, ["1", "2", "3"]);
    bus.tap.close().await;
}

async fn an_acknowledged_batch_does_not_come_again(bus: Bus) {
    let mut source = bus.ready("orders").await;
    bus.service.send("orders", "", "1").await;
    let batch = next_batch(source.as_mut()).await.unwrap();
    batch.receipt.ack(true).await.unwrap();
    drop(source);
    bus.service.send("orders", "", "2").await;
    let mut source = bus.tap.source().await.unwrap();
    assert_eq!(drain(source.as_mut(), 1).await, ["2"]);
    bus.tap.close().await;
}

async fn batches_may_be_taken_ahead_and_acknowledged_in_order(bus: Bus) {
    let mut source = bus.ready("orders").await;
    bus.service.send("orders", "", "1").await;
    let first = next_batch(source.as_mut()).await.unwrap();
    bus.service.send("orders", "", "2").await;
    let second = next_batch(source.as_mut()).await.unwrap();
    bus.service.send("orders", "", "3").await;
    let third = next_batch(source.as_mut()).await.unwrap();
    first.receipt.ack(true).await.unwrap();
    second.receipt.ack(false).await.unwrap();
    drop(third);
    drop(source);
    let mut source = bus.tap.source().await.unwrap();
    assert_eq!(drain(source.as_mut(), 1).await, ["3"], "only what was given up comes again");
    bus.tap.close().await;
}

async fn a_cancelled_wait_loses_nothing(bus: Bus) {
    let mut source = bus.ready("orders").await;
    for n in 0..200 {
        bus.service.send("orders", "", &n.to_string()).await;
    }
    bus.tap.send_canary(Moment(1), None).await.unwrap();
    let (mut seen, mut wait) = (Vec::new(), Duration::from_micros(50));
    while seen.len() < 201 {
        // Waits this short are cancelled at every point there is.
        wait += Duration::from_micros(20);
        let Ok(batch) = timeout(wait, source.next_batch()).await else { continue };
        let batch = batch.unwrap();
        seen.extend(read(&batch.items));
        batch.receipt.ack(false).await.unwrap();
    }
    let expected: Vec<_> = (0..200).map(|n| n.to_string()).chain(["canary 1".to_owned()]).collect();
    assert_eq!(seen, expected);
    bus.tap.close().await;
}

async fn an_absent_exchange_is_said_to_be_absent_and_bound_once_it_appears(bus: Bus) {
    bus.service.exchange("there", Kind::Fanout).await;
    let mut source = open(bus.tap.as_ref()).await;
    let looks = bus.tap.look(vec![wanted("later"), wanted("there")]).await.unwrap();
    let seen: Vec<_> = looks.iter().map(|look| (look.exchange.as_str(), look.found, look.bound)).collect();
    assert_eq!(seen, [("later", false, false), ("there", true, true)]);
    bus.service.exchange("later", Kind::Fanout).await;
    let looks = bus.tap.look(vec![wanted("later"), wanted("there")]).await.unwrap();
    assert!(looks.iter().all(|look| look.found && look.bound && look.problem.is_none()), "{looks:?}");
    bus.service.send("later", "", "1").await;
    assert_eq!(drain(source.as_mut(), 1).await, ["1"]);
    bus.tap.close().await;
}

async fn a_binding_that_went_with_its_exchange_comes_back(bus: Bus) {
    let mut source = bus.ready("orders").await;
    bus.service.delete_exchange("orders").await;
    bus.service.exchange("orders", Kind::Fanout).await;
    bus.service.send("orders", "", "missed").await;
    bind(bus.tap.as_ref(), wanted("orders")).await;
    bus.service.send("orders", "", "seen").await;
    assert_eq!(drain(source.as_mut(), 1).await, ["seen"]);
    bus.tap.close().await;
}

async fn an_absent_exchange_is_declared_where_the_definition_says_how(bus: Bus) {
    let declare = Declare { kind: "fanout".into(), durable: true, auto_delete: false, internal: false };
    let wanted = Wanted { declare: Some(declare), ..wanted("stock") };
    let mut source = open(bus.tap.as_ref()).await;
    let looks = bus.tap.look(vec![wanted.clone()]).await.unwrap();
    assert!(!looks[0].found && looks[0].bound, "absent until this look, which declared and bound it: {looks:?}");
    bus.service.exchange("stock", Kind::Fanout).await;
    bus.service.send("stock", "", "1").await;
    assert_eq!(drain(source.as_mut(), 1).await, ["1"]);
    bus.tap.close().await;
}

async fn only_the_wanted_keys_are_bound(bus: Bus) {
    bus.service.exchange("shop", Kind::Topic).await;
    bus.service.exchange("direct", Kind::Direct).await;
    let mut source = open(bus.tap.as_ref()).await;
    let keys = Wanted { keys: Some(vec!["order.*".into()]), ..wanted("shop") };
    let events = Wanted { routing_key_events: Some(vec!["Order placed".into()]), ..wanted("direct") };
    bind(bus.tap.as_ref(), keys).await;
    bind(bus.tap.as_ref(), events).await;
    for (exchange, key) in
        [("shop", "stock.low"), ("shop", "order.placed"), ("direct", "Other"), ("direct", "Order placed")]
    {
        bus.service.send(exchange, key, key).await;
    }
    assert_eq!(drain(source.as_mut(), 2).await, ["order.placed", "Order placed"]);
    bus.tap.close().await;
}

async fn an_unbound_key_is_no_longer_seen(bus: Bus) {
    bus.service.exchange("shop", Kind::Topic).await;
    let mut source = open(bus.tap.as_ref()).await;
    bind(bus.tap.as_ref(), Wanted { keys: Some(vec!["a".into(), "b".into()]), ..wanted("shop") }).await;
    bus.tap.unbind("shop".into(), vec!["a".into()]).await.unwrap();
    bus.service.send("shop", "a", "a").await;
    bus.service.send("shop", "b", "b").await;
    assert_eq!(drain(source.as_mut(), 1).await, ["b"]);
    bus.tap.close().await;
}

async fn a_publication_is_confirmed_only_if_somebody_is_bound(bus: Bus) {
    bus.service.exchange("out", Kind::Direct).await;
    bus.service.queue("inbox", "out", "known").await;
    let mut unasked = publication("c", "out", "unknown");
    unasked.mandatory = false;
    let words = bus
        .sink
        .publish(vec![publication("a", "out", "known"), publication("b", "out", "unknown"), unasked])
        .await
        .unwrap();
    assert_eq!(words[0], Published::Confirmed);
    assert!(matches!(&words[1], Published::Unroutable(why) if why.contains("unknown")), "{words:?}");
    assert_eq!(words[2], Published::Confirmed);
    assert_eq!(bus.service.consume("inbox").await.next().await, "a");
    bus.tap.close().await;
}

async fn a_missing_exchange_is_refused_and_its_neighbours_are_not(bus: Bus) {
    bus.service.exchange("out", Kind::Fanout).await;
    bus.service.queue("inbox", "out", "").await;
    let publications = (0..20).map(|n| publication(&n.to_string(), if n % 5 == 2 { "nowhere" } else { "out" }, ""));
    let words = bus.sink.publish(publications.collect()).await.unwrap();
    for (n, word) in words.iter().enumerate() {
        if n % 5 == 2 {
            assert!(matches!(word, Published::Refused(why) if why.contains("nowhere")), "{n}: {word:?}");
        } else {
            assert_eq!(*word, Published::Confirmed, "{n}");
        }
    }
    let words = bus.sink.publish(vec![publication("after", "out", "")]).await.unwrap();
    assert_eq!(words, [Published::Confirmed], "and the sink goes on");
    bus.tap.close().await;
}

async fn a_retry_reaches_only_a_queue_that_can_take_it(bus: Bus) {
    // Makes Escrow's exchanges, so that an administrator can bind.
    let _source = open(bus.tap.as_ref()).await;
    bus.service.exchange("orders", Kind::Fanout).await;
    bus.service.queue("inventory", "orders", "").await;
    // A look may be a second old, so the word is asked for until it is the new one.
    let until_told = async |key: &str, queue: &str, expected: &str| {
        let asking = async {
            loop {
                let word = bus.sink.publish(vec![retry(key, queue)]).await.unwrap().remove(0);
                match word {
                    Published::Withheld(why) if why.contains(expected) => return,
                    Published::Confirmed if expected == "confirmed" => return,
                    Published::Withheld(_) => tokio::time::sleep(Duration::from_millis(100)).await,
                    other => panic!("{other:?} instead of {expected}"),
                }
            }
        };
        timeout(PATIENCE, asking).await.unwrap_or_else(|_| panic!("{queue} was never {expected}"));
    };
    until_told("1", "nowhere", "does not exist").await;
    until_told("2", "inventory", "has no consumer").await;
    let mut reader = bus.service.consume("inventory").await;
    until_told("3", "inventory", "no binding").await;
    bus.service.queue("inventory", "escrow.retry", "inventory").await;
    until_told("4", "inventory", "confirmed").await;
    assert_eq!(reader.next().await, "4");
    bus.tap.close().await;
}

async fn a_look_at_a_queue_tells_how_it_is_and_changes_nothing(bus: Bus) {
    bus.service.exchange("orders", Kind::Fanout).await;
    // A look may be a second old, so it is repeated until it is the new one.
    let until_found = async |expected: Found| {
        let looking = async {
            while bus.sink.look_at_queue("inventory".to_owned()).await.unwrap() != expected {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        timeout(PATIENCE, looking).await.unwrap_or_else(|_| panic!("it was never found to be {expected:?}"));
    };
    until_found(Found::Missing).await;
    until_found(Found::Missing).await;
    bus.service.queue("inventory", "orders", "").await;
    until_found(Found::NoConsumer { messages: 0 }).await;
    for number in 0..312 {
        bus.service.send("orders", "", &number.to_string()).await;
    }
    until_found(Found::NoConsumer { messages: 312 }).await;
    let mut reader = bus.service.consume("inventory").await;
    for number in 0..312 {
        assert_eq!(reader.next().await, number.to_string(), "none was taken, and the order is the same");
    }
    until_found(Found::Consumed { consumers: 1 }).await;
    let words = bus.sink.publish(vec![publication("after", "orders", "")]).await.unwrap();
    assert_eq!(words, [Published::Confirmed], "and the sink goes on");
    bus.tap.close().await;
    assert!(bus.sink.look_at_queue("inventory".to_owned()).await.is_err() || matches!(bus.service, Peer::Memory(_)));
}

async fn a_second_source_stands_by_until_the_first_is_gone(bus: Bus) {
    let mut first = bus.ready("orders").await;
    bus.service.send("orders", "", "1").await;
    assert_eq!(drain(first.as_mut(), 1).await, ["1"]);
    let mut second = bus.tap.source().await.unwrap();
    bus.service.send("orders", "", "2").await;
    let batch = {
        let waiting = second.next_batch();
        tokio::pin!(waiting);
        tokio::select! {
            _ = &mut waiting => panic!("the second source was given what the first is to have"),
            batch = next_batch(first.as_mut()) => assert_eq!(read(&batch.unwrap().items), ["2"]),
        }
        // The batch was dropped unacknowledged, and the first source with it.
        drop(first);
        timeout(PATIENCE, waiting).await.expect("the second takes over").unwrap()
    };
    assert_eq!(read(&batch.items), ["2"]);
    batch.receipt.ack(true).await.unwrap();
    bus.tap.close().await;
}

async fn a_closed_tap_ends_its_sources(bus: Bus) {
    let mut source = bus.ready("orders").await;
    bus.tap.close().await;
    let ended = timeout(PATIENCE, source.next_batch()).await.expect("it ends");
    assert!(ended.is_err());
    assert!(!bus.tap.health().connected);
    assert!(timeout(PATIENCE, bus.tap.source()).await.expect("it answers").is_err());
}
