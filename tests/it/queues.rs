//! What is wrong with the queue of a silent service, told by the whole program beside a real broker, and nothing touched by it.

use std::collections::BTreeMap;

use lapin::ExchangeKind;
use lapin::options::{BasicQosOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::block_in_place;

use crate::support::escrow::Escrow;
use crate::support::postgres;
use crate::support::rabbitmq::{Vhost, shared};
use crate::support::services::{Service, receive};

const SAGA: &str = "saga: order\nversion: 1\nread: { event: /event_type, order_id: /data/order_id }\n\
    watch: [{ exchange: orders }]\nsteps:\n  \
    placed: { done: OrderPlaced }\n  \
    payment: { after: placed, done: Paid, within: 1h, handled_by: { queue: payments } }\n  \
    stock: { after: placed, done: Reserved, within: 1h, handled_by: { queue: stock } }\n  \
    mail: { after: placed, done: Mailed, within: 1h, handled_by: { queue: mails } }\n  \
    parcel: { after: placed, done: Sent, within: 1h, handled_by: { queue: parcels } }\n";

/// What every queue an order waits for is like, by its name; `None` before all of them were looked at.
fn found(order: &Value) -> Option<BTreeMap<String, Value>> {
    let waits = order["waiting_on"].as_array()?;
    let queues = waits.iter().map(|wait| {
        let queue = &wait["queue"];
        Some((queue["queue"].as_str()?.to_owned(), json!([queue["found"], queue["messages"], queue["consumers"]])))
    });
    queues.collect()
}

/// Waits until the order's queues are found to be so.
async fn until_found(escrow: &Escrow, what: &str, expected: &[(&str, Value)]) -> Value {
    let holds = |order: &Value| {
        found(order).is_some_and(|found| expected.iter().all(|(queue, state)| found.get(*queue) == Some(state)))
    };
    escrow.order_when("4711", what, holds).await
}

async fn place(service: &Service) {
    let body = json!({"event_type": "OrderPlaced", "data": {"order_id": "4711"}}).to_string();
    service.send("orders", "", &body).await;
}

/// All that is on the virtual host, the messages of each queue too, without what is Escrow's.
fn all_there_is(vhost: &Vhost<'static>) -> [Vec<String>; 3] {
    [
        vhost.foreign("queues", &["name", "messages", "consumers", "arguments", "durable", "exclusive"]),
        vhost.foreign("exchanges", &["name", "type", "durable", "auto_delete"]),
        vhost.foreign("bindings", &["source_name", "destination_name", "routing_key"]),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_state_of_a_silent_services_queue_is_told_and_nothing_is_touched() {
    let vhost = shared().vhost();
    let service = Service::connect(&vhost.url()).await;
    service.exchange("orders", ExchangeKind::Fanout).await;
    service.queue("payments").await;
    for number in 0..312 {
        service.send("", "payments", &number.to_string()).await;
    }
    service.queue("mails").await;
    service.send("", "mails", "one").await;
    let mut mails = service.consume("mails").await;
    assert_eq!(receive(&mut mails).await.data, b"one");
    let exclusive = QueueDeclareOptions { exclusive: true, ..QueueDeclareOptions::durable() };
    service.channel.queue_declare("parcels".into(), exclusive, FieldTable::default()).await.unwrap();
    let escrow = Escrow::new(SAGA, &postgres::shared().database().await, &vhost.limited_url());
    escrow.run().await;
    escrow.bound().await;
    let before = block_in_place(|| all_there_is(&vhost));
    place(&service).await;

    let expected = [
        ("payments", json!(["no_consumer", 312, 0])),
        ("stock", json!(["missing", null, null])),
        ("mails", json!(["consumed", 0, 1])),
        ("parcels", json!(["forbidden", null, null])),
    ];
    let order = until_found(&escrow, "says how its queues are", &expected).await;
    assert_eq!(found(&order).unwrap().len(), 4);
    let said = "for Paid (step `payment`); queue payments has no consumer and 312 messages; if it does not come within";
    assert!(order["why"].as_str().unwrap().contains(said), "{order}");
    let output = block_in_place(|| escrow.command(&["order", "why", "order/4711"]));
    let printed = String::from_utf8(output.stdout).unwrap();
    assert!(printed.contains(said), "{printed}");
    assert_eq!(block_in_place(|| all_there_is(&vhost)), before, "not a queue, a binding or a message is another");

    // A consumer that takes one and hangs; and a queue that appears.
    let reader = Service::connect(&vhost.url()).await;
    reader.channel.basic_qos(1, BasicQosOptions::default()).await.unwrap();
    let mut payments = reader.consume("payments").await;
    service.queue("stock").await;
    let expected = [("payments", json!(["backlog", 311, 1])), ("stock", json!(["no_consumer", 0, 0]))];
    let order = until_found(&escrow, "says that they are otherwise now", &expected).await;
    assert!(order["why"].as_str().unwrap().contains("queue payments has a backlog of 311 messages for 1 consumer"));
    for number in 0..312 {
        let delivery = receive(&mut payments).await;
        assert_eq!(
            (delivery.data, delivery.redelivered),
            (number.to_string().into_bytes(), false),
            "none was taken before"
        );
    }
    let order = until_found(&escrow, "says so", &[("payments", json!(["consumed", 0, 1]))]).await;
    let said = "queue payments is consumed without an answer (1 consumer, no messages ready)";
    assert!(order["why"].as_str().unwrap().contains(said), "{order}");
    assert_eq!(escrow.terminate(), Some(0));
}

/// RabbitMQ 3.10 lets anybody look at any queue that is not another connection's. 4.3 refuses by another code what this user has
/// no right to, and this relay puts that code in the place of the one for exclusive queues: channel.close and its reply code.
async fn as_4_3_refuses(url: &str) -> String {
    const CLOSE: [u8; 4] = [0, 20, 0, 40];
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (before, rest) = url.rsplit_once("127.0.0.1:").unwrap();
    let (port, vhost) = rest.split_once('/').unwrap();
    let (port, own): (u16, u16) = (port.parse().unwrap(), listener.local_addr().unwrap().port());
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut server = TcpStream::connect(("127.0.0.1", port)).await?;
                let ((mut asks, mut hears), (mut answers, mut takes)) = (client.split(), server.split());
                let back = async {
                    let mut bytes = vec![0; 1 << 16];
                    loop {
                        let read = answers.read(&mut bytes).await?;
                        let (exclusive, refused) = (
                            [&CLOSE[..], &405_u16.to_be_bytes()].concat(),
                            [&CLOSE[..], &403_u16.to_be_bytes()].concat(),
                        );
                        for at in 0..read.saturating_sub(exclusive.len()) {
                            if bytes[at..at + exclusive.len()] == exclusive {
                                bytes[at..at + refused.len()].copy_from_slice(&refused);
                            }
                        }
                        hears.write_all(&bytes[..read]).await?;
                        if read == 0 {
                            return hears.shutdown().await;
                        }
                    }
                };
                tokio::try_join!(tokio::io::copy(&mut asks, &mut takes), back).map(drop)
            });
        }
    });
    format!("{before}127.0.0.1:{own}/{vhost}")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queue_the_user_may_not_see_is_told_and_costs_nothing_but_a_channel() {
    let vhost = shared().vhost();
    let service = Service::connect(&vhost.url()).await;
    service.exchange("orders", ExchangeKind::Fanout).await;
    let exclusive = QueueDeclareOptions { exclusive: true, ..QueueDeclareOptions::durable() };
    service.channel.queue_declare("payments".into(), exclusive, FieldTable::default()).await.unwrap();
    for queue in ["stock", "mails", "parcels"] {
        service.queue(queue).await;
    }
    let url = as_4_3_refuses(&vhost.url()).await;
    let escrow = Escrow::new(SAGA, &postgres::shared().database().await, &url);
    escrow.run().await;
    escrow.bound().await;
    place(&service).await;
    // The looks at the others go on in the same round, on the same connection.
    let others = ["stock", "mails", "parcels"].map(|queue| (queue, json!(["no_consumer", 0, 0])));
    let expected = [&[("payments", json!(["forbidden", null, null]))][..], &others].concat();
    let order = until_found(&escrow, "says that one cannot be seen", &expected).await;
    assert!(order["why"].as_str().unwrap().contains("queue payments cannot be seen ("), "{order}");
    let body = json!({"event_type": "Paid", "data": {"order_id": "4711"}}).to_string();
    service.send("orders", "", &body).await;
    escrow.order_when("4711", "is followed as ever", |order| order["progress"]["done"] == 2).await;
    let ended = escrow.log_text().contains("the connection to the broker ended");
    assert!(!ended, "{}", escrow.log_tail());
}
