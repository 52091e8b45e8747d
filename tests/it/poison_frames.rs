//! Messages whose strings are no text: the client library drops the whole connection over one, or ends the process, and the
//! broker then delivers it again, for ever. What a service on the same broker may send, Escrow has to survive.

use escrow::bus::rabbitmq::{self, Options};
use escrow::bus::{Delivery, Item, Tap as _, UNREADABLE};
use lapin::ExchangeKind;
use tokio::task::spawn_blocking;

use crate::support::rabbitmq::{Vhost, shared};
use crate::support::raw_amqp::{RawPublisher, long, short, table, text};
use crate::support::services::{Service, bind, next_batch, open, wanted};

const CONTENT_TYPE: u16 = 1 << 15;
const HEADERS: u16 = 1 << 13;
const MESSAGE_ID: u16 = 1 << 7;

fn properties(flags: u16, values: &[Vec<u8>]) -> Vec<u8> {
    [flags.to_be_bytes().to_vec(), values.concat()].concat()
}

fn headers(entries: &[(&[u8], Vec<u8>)]) -> Vec<u8> {
    properties(HEADERS, &[table(entries)])
}

fn nested(depth: usize) -> Vec<u8> {
    (0..depth).fold(b"V".to_vec(), |inner, _| [b"A".to_vec(), long(&inner)].concat())
}

async fn publish(vhost: &Vhost<'_>, messages: Vec<(&'static [u8], Vec<u8>)>) {
    let url = vhost.url();
    let publishing = spawn_blocking(move || {
        let mut publisher = RawPublisher::connect(&url);
        for (number, (key, properties)) in messages.iter().enumerate() {
            publisher.publish(b"orders", key, properties, number.to_string().as_bytes()).expect("the broker takes it");
        }
    });
    publishing.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_whose_strings_are_no_text_are_delivered_and_say_what_of_them_is_not() {
    let vhost = shared().vhost();
    let service = Service::connect(&vhost.url()).await;
    service.exchange("orders", ExchangeKind::Topic).await;
    let (tap, _sink) = rabbitmq::start(&vhost.url(), "test", Options::default()).unwrap();
    let mut source = open(tap.as_ref()).await;
    bind(tap.as_ref(), wanted("orders")).await;
    let cases: Vec<(&[u8], Vec<u8>, &[&str])> = vec![
        (b"caf\xe9", properties(0, &[]), &["routing_key"]),
        (b"id", properties(MESSAGE_ID, &[short(b"caf\xe9")]), &["property:message_id"]),
        (b"type", properties(CONTENT_TYPE, &[short(b"\xff")]), &["property:content_type"]),
        (b"name", headers(&[(b"n\xe9", text(b"x")), (b"good", text(b"y"))]), &[r"header:n\xe9"]),
        (b"table", headers(&[(b"t", [b"F".to_vec(), table(&[(b"\xe9", b"V".to_vec())])].concat())]), &["header:t"]),
        (b"deep", headers(&[(b"n", nested(20_000))]), &["headers"]),
        (b"mark", headers(&[(b"x-escrow-unreadable", text(b"x"))]), &["header:x-escrow-unreadable"]),
        (b"value", headers(&[(b"n", text(b"\xe9"))]), &[]),
        (b"clean", properties(MESSAGE_ID, &[short(b"m-1")]), &[]),
    ];
    let (messages, wants): (Vec<_>, Vec<_>) = cases.into_iter().map(|(key, sent, parts)| ((key, sent), parts)).unzip();
    publish(&vhost, messages).await;
    let mut seen: Vec<Delivery> = Vec::new();
    while seen.len() < wants.len() {
        let batch = next_batch(source.as_mut()).await.expect("the connection stands");
        seen.extend(batch.items.into_iter().filter_map(|item| match item {
            Item::Delivery(delivery) => Some(delivery),
            Item::Canary { .. } | Item::Gap(_) => None,
        }));
        batch.receipt.ack(true).await.expect("the same connection stands");
    }
    for (number, (delivery, want)) in seen.iter().zip(&wants).enumerate() {
        assert_eq!(delivery.body, number.to_string().as_bytes(), "in their order, none twice");
        assert!(!delivery.redelivered, "{delivery:?}");
        assert_eq!(&delivery.envelope.unreadable().collect::<Vec<_>>(), want, "{delivery:?}");
        assert_eq!(delivery.envelope.properties.contains_key(UNREADABLE), !want.is_empty(), "{delivery:?}");
    }
    assert_eq!(seen[0].routing_key, r"caf\xe9");
    assert_eq!(seen[0].envelope.properties[UNREADABLE]["routing_key"], "Y2Fm6Q==");
    assert_eq!(seen[1].envelope.property("message_id"), Some(r"caf\xe9"));
    assert_eq!(seen[3].envelope.header("good"), Some("y"), "what is readable stays");
    tap.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_absent_exchange_with_a_long_name_of_two_byte_letters_is_absent() {
    let vhost = shared().vhost();
    let (tap, _sink) = rabbitmq::start(&vhost.url(), "test", Options::default()).unwrap();
    let _source = open(tap.as_ref()).await;
    // The broker repeats the name in its words and cuts them at 255 bytes, for one of the two within a letter.
    for name in ["é".repeat(127), format!("x{}", "é".repeat(127))] {
        let looks = tap.look(vec![wanted(&name)]).await.expect("the connection stands");
        assert!(!looks[0].found && looks[0].problem.is_none(), "{looks:?}");
    }
    tap.close().await;
}
