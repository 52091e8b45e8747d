//! What only a real broker shows: the client library's defects, the broker's refusals, and that nothing foreign is touched.

use std::collections::BTreeMap;
use std::sync::Arc;

use escrow::bus::rabbitmq::{self, Bound, Options, RabbitSink, RabbitTap};
use escrow::bus::{BusError, Gap, GapKind, Item, Publication, Published, Sink, Tap, Target};
use escrow::saga::time::Moment;
use lapin::types::{AMQPValue, DecimalValue, FieldTable, ShortString};
use lapin::{BasicProperties, ExchangeKind};
use tokio::time::timeout;

use crate::support::rabbitmq::{Vhost, shared};
use crate::support::services::{
    PATIENCE, Service, bind, drain, next_batch, open, publication, read, receive, until, wanted,
};

async fn escrow(url: &str, options: Options) -> (Arc<RabbitTap>, Arc<RabbitSink>) {
    let (tap, sink) = rabbitmq::start(url, "test", options).expect("the URL is right");
    until("both connections stand", || tap.health().connected && sink.is_connected()).await;
    (tap, sink)
}

fn small(messages: u64) -> Options {
    Options { bound: Bound { messages, ..Bound::default() }, ..Options::default() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_thousand_publications_exactly_the_unroutable_ones_are_said_to_be() {
    let vhost = shared().vhost();
    let service = Service::connect(&vhost.url()).await;
    service.exchange("out", ExchangeKind::Direct).await;
    service.queue("inbox").await;
    service.bind("inbox", "out", "known").await;
    let (tap, sink) = escrow(&vhost.url(), Options::default()).await;
    let publications =
        (0..2_000).map(|n| publication(&n.to_string(), "out", if n % 10 == 3 { "unknown" } else { "known" }));
    let words = sink.publish(publications.collect()).await.unwrap();
    for (n, word) in words.iter().enumerate() {
        match word {
            Published::Unroutable(_) => assert_eq!(n % 10, 3, "{n} was routed"),
            Published::Confirmed => assert_ne!(n % 10, 3, "{n} was not routed"),
            other => panic!("{n}: {other:?}"),
        }
    }
    tap.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_forbidden_exchange_and_a_wrong_property_are_refused_alone() {
    let vhost = shared().vhost();
    let service = Service::connect(&vhost.url()).await;
    service.exchange("forbidden", ExchangeKind::Fanout).await;
    let (tap, sink) = escrow(&vhost.limited_url(), Options::default()).await;
    let _source = open(tap.as_ref()).await;
    service.queue("listener").await;
    service.bind("listener", "escrow", "#").await;
    let mut publications: Vec<Publication> = (0..12).map(|n| publication(&n.to_string(), "escrow", "a.b")).collect();
    publications[3] = publication("3", "forbidden", "");
    publications[7].envelope.properties.insert("expiration".into(), "soon".into());
    publications[9].envelope.properties.insert("colour".into(), "red".into());
    let words = sink.publish(publications).await.unwrap();
    for (n, word) in words.iter().enumerate() {
        let because = [(3, "forbidden"), (7, "expiration"), (9, "colour")].into_iter().find(|(at, _)| *at == n);
        match (word, because) {
            (Published::Confirmed, None) => {}
            (Published::Refused(why), Some((_, because))) => assert!(why.contains(because), "{n}: {why}"),
            other => panic!("{n}: {other:?}"),
        }
    }
    tap.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tap_deleted_under_its_consumer_is_declared_anew_once_the_gap_is_committed() {
    let vhost = shared().vhost();
    let service = Service::connect(&vhost.url()).await;
    service.exchange("orders", ExchangeKind::Fanout).await;
    let (tap, _sink) = escrow(&vhost.url(), Options::default()).await;
    let mut source = open(tap.as_ref()).await;
    bind(tap.as_ref(), wanted("orders")).await;
    service.delete_queue("escrow.tap.test").await;
    let ended = timeout(PATIENCE, source.next_batch()).await.expect("the end of the stream is noticed");
    assert!(matches!(ended, Err(BusError::Disconnected(_))));
    drop(source);

    for committed in [false, true] {
        let mut source = tap.source().await.unwrap();
        let batch = timeout(PATIENCE, source.next_batch()).await.expect("the gap comes").unwrap();
        assert!(
            matches!(batch.items.as_slice(), [Item::Gap(Gap { kind: GapKind::DeclaredAnew, .. })]),
            "{:?}",
            batch.items
        );
        if !committed {
            // Given up, as by a crash before the commit: the gap must be told again.
            continue;
        }
        batch.receipt.ack(true).await.unwrap();
        let next = tokio::spawn(async move { drain(source.as_mut(), 1).await });
        until("it consumes again", || tap.health().consuming).await;
        // No look since: the tap was bound again when it was declared.
        service.send("orders", "", "seen").await;
        assert_eq!(timeout(PATIENCE, next).await.expect("it comes").unwrap(), ["seen"]);
    }
    tap.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_bound_drops_is_told_before_the_canary_behind_it() {
    let vhost = shared().vhost();
    let service = Service::connect(&vhost.url()).await;
    service.exchange("orders", ExchangeKind::Fanout).await;
    let (tap, _sink) = escrow(&vhost.url(), small(20)).await;
    let source = open(tap.as_ref()).await;
    bind(tap.as_ref(), wanted("orders")).await;
    drop(source);
    until("nobody consumes", || !tap.health().consuming).await;
    for n in 0..50 {
        service.send("orders", "", &n.to_string()).await;
    }
    service.queue("elsewhere").await;
    tap.send_canary(Moment(9), None).await.unwrap();

    let mut source = tap.source().await.unwrap();
    let mut seen = Vec::new();
    while !seen.contains(&"canary 9".to_owned()) {
        let batch = timeout(PATIENCE, source.next_batch()).await.expect("a batch comes").unwrap();
        seen.extend(read(&batch.items));
        batch.receipt.ack(true).await.unwrap();
    }
    let place = |text: &str| seen.iter().position(|one| one == text);
    assert!(place("gap Overflow") < place("canary 9") && place("gap Overflow").is_some(), "{seen:?}");
    assert!(place("gap NearlyFull").is_some(), "{seen:?}");
    assert!(seen.contains(&"49".to_owned()) && !seen.contains(&"0".to_owned()), "the oldest go: {seen:?}");

    // Once committed, it is not told again.
    drop(source);
    tap.send_canary(Moment(10), None).await.unwrap();
    let mut source = tap.source().await.unwrap();
    assert_eq!(drain_with_gaps(source.as_mut()).await, ["canary 10"]);
    tap.close().await;
}

async fn drain_with_gaps(source: &mut dyn escrow::bus::Source) -> Vec<String> {
    let mut seen = Vec::new();
    while !seen.last().is_some_and(|text: &String| text.starts_with("canary")) {
        let batch = timeout(PATIENCE, source.next_batch()).await.expect("a batch comes").unwrap();
        seen.extend(read(&batch.items));
        batch.receipt.ack(true).await.unwrap();
    }
    seen
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tap_with_other_arguments_is_refused_and_said_so() {
    let vhost = shared().vhost();
    let (tap, _sink) = escrow(&vhost.url(), small(20)).await;
    drop(open(tap.as_ref()).await);
    tap.close().await;
    let (tap, _sink) = escrow(&vhost.url(), small(30)).await;
    match tap.source().await.err() {
        Some(BusError::Misconfigured(why)) => {
            assert!(why.contains("escrow.tap.test") && why.contains("x-max-length"), "{why}");
        }
        other => panic!("{other:?}"),
    }
    assert!(tap.health().problem.is_some());
    tap.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn looks_stay_true_after_more_refusals_than_there_are_channel_numbers() {
    let vhost = shared().vhost();
    let service = Service::connect(&vhost.url()).await;
    service.exchange("orders", ExchangeKind::Fanout).await;
    let (tap, _sink) = escrow(&vhost.url(), Options::default()).await;
    let mut source = open(tap.as_ref()).await;
    // Each absent exchange costs a channel, and the client library never uses the number of a refused one again.
    let absent = (0..50).map(|n| wanted(&format!("absent-{n}")));
    let asked: Vec<_> = absent.chain([wanted("orders")]).collect();
    for round in 0..45 {
        let looks = tap.look(asked.clone()).await.unwrap();
        let (found, bound) = (looks.iter().filter(|look| look.found), looks.iter().filter(|look| look.bound));
        assert_eq!((found.count(), bound.count()), (1, 1), "in round {round}");
    }
    service.send("orders", "", "1").await;
    assert_eq!(drain(source.as_mut(), 1).await, ["1"], "and the tap is still consumed");
    tap.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_password_is_shown_and_never_repeated_in_the_text() {
    let vhost = shared().vhost();
    let url = vhost.url().replace("guest:guest", "guest:secret");
    let (tap, _sink) = rabbitmq::start(&url, "test", Options::default()).unwrap();
    until("the refusal is shown", || tap.health().problem.is_some_and(|why| why.contains("ACCESS"))).await;
    assert!(!tap.health().problem.unwrap().contains("secret"));
    assert!(!tap.health().connected);
    let wrong = rabbitmq::start("amqp//guest:secret@host", "test", Options::default());
    assert!(!wrong.err().expect("it is no URL").to_string().contains("secret"));
    tap.close().await;
}

/// A header of every type a service can send.
fn every_header() -> FieldTable {
    let inner = BTreeMap::from([(ShortString::from("deep"), AMQPValue::ShortShortInt(-1))]);
    let values = [
        AMQPValue::Boolean(true),
        AMQPValue::ShortShortInt(-8),
        AMQPValue::ShortInt(-300),
        AMQPValue::LongInt(70_000),
        AMQPValue::LongLongInt(5),
        AMQPValue::LongLongInt(i64::MAX),
        AMQPValue::Float(1.5),
        AMQPValue::Double(7.0),
        AMQPValue::DecimalValue(DecimalValue { scale: 2, value: 1_050 }),
        AMQPValue::LongString("text".into()),
        AMQPValue::LongString(vec![0xff, 0xfe].into()),
        AMQPValue::ByteArray(vec![0, 1, 255].into()),
        AMQPValue::Timestamp(1_700_000_000),
        AMQPValue::FieldTable(FieldTable::from(inner)),
        AMQPValue::FieldArray(vec![AMQPValue::LongLongInt(1), AMQPValue::Void].into()),
        AMQPValue::Void,
    ];
    let named = values.into_iter().enumerate().map(|(n, value)| (ShortString::from(format!("h{n}")), value));
    FieldTable::from(named.collect::<BTreeMap<_, _>>())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_sent_again_carries_the_same_headers_and_properties() {
    let vhost = shared().vhost();
    let service = Service::connect(&vhost.url()).await;
    service.exchange("orders", ExchangeKind::Fanout).await;
    service.queue("inventory").await;
    service.bind("inventory", "orders", "").await;
    let (tap, sink) = escrow(&vhost.url(), Options::default()).await;
    let mut source = open(tap.as_ref()).await;
    bind(tap.as_ref(), wanted("orders")).await;
    let mut consumer = service.consume("inventory").await;
    let sent = BasicProperties::default()
        .with_headers(every_header())
        .with_message_id("m-1".into())
        .with_content_type("application/json".into())
        .with_delivery_mode(1)
        .with_priority(3)
        .with_timestamp(1_700_000_000)
        .with_type("OrderPlaced".into());
    service.send_with("orders", "", "{}", sent).await;
    let original = receive(&mut consumer).await;

    let batch = next_batch(source.as_mut()).await.unwrap();
    let Item::Delivery(seen) = &batch.items[0] else { panic!("{:?}", batch.items) };
    let stored = serde_json::to_string(&seen.envelope).unwrap();
    let again = Publication {
        key: "k".into(),
        target: Target::Exchange { exchange: "orders".into(), routing_key: String::new() },
        envelope: serde_json::from_str(&stored).unwrap(),
        body: seen.body.clone(),
        mandatory: true,
    };
    assert_eq!(sink.publish(vec![again]).await.unwrap(), [Published::Confirmed]);
    let resent = receive(&mut consumer).await;
    let mut headers = resent.properties.headers().clone().unwrap().inner().clone();
    assert!(headers.remove("x-escrow-own").is_some());
    let plain = resent.properties.clone().with_headers(FieldTable::from(headers));
    assert_eq!(plain, original.properties);
    assert_eq!(resent.data, original.data);
    tap.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_foreign_is_declared_changed_or_deleted() {
    let vhost = shared().vhost();
    let service = Service::connect(&vhost.url()).await;
    service.exchange("orders", ExchangeKind::Fanout).await;
    service.exchange("stock", ExchangeKind::Direct).await;
    service.queue("inventory").await;
    service.bind("inventory", "orders", "").await;
    let before = definitions(&vhost).await;

    let (tap, sink) = escrow(&vhost.limited_url(), Options::default()).await;
    let mut source = open(tap.as_ref()).await;
    for exchange in ["orders", "stock"] {
        bind(tap.as_ref(), wanted(exchange)).await;
    }
    assert!(!tap.look(vec![wanted("nowhere")]).await.unwrap()[0].found);
    service.send("orders", "", "1").await;
    drain(source.as_mut(), 1).await;
    sink.publish(vec![publication("1", "orders", ""), publication("2", "nowhere", "")]).await.unwrap();
    drop(source);
    tap.close().await;
    assert_eq!(definitions(&vhost).await, before);
    let mut consumer = service.consume("inventory").await;
    assert_eq!(receive(&mut consumer).await.data, b"1", "and nobody took what was the service's");
}

/// Everything on the virtual host that is not Escrow's, in `rabbitmqctl`'s words.
pub async fn definitions(vhost: &Vhost<'static>) -> Vec<String> {
    let lists = [
        ("exchanges", &["name", "type", "durable", "auto_delete", "internal", "arguments"][..]),
        ("queues", &["name", "durable", "auto_delete", "arguments"]),
        ("bindings", &["source_name", "destination_name", "destination_kind", "routing_key", "arguments"]),
    ];
    let (server, name) = (vhost.server, vhost.name.clone());
    let listing = tokio::task::spawn_blocking(move || {
        let vhost = Vhost { server, name };
        lists.into_iter().flat_map(|(what, columns)| vhost.foreign(what, columns)).collect()
    });
    listing.await.expect("rabbitmqctl answers")
}
