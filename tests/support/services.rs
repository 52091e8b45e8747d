//! A service as the tests play it, over real RabbitMQ: its own connection, exchanges, queues and consumers.

use std::time::Duration;

use escrow::bus::{Batch, BusError, Envelope, Item, Publication, Source, Tap, Target, Wanted};
use futures_util::StreamExt as _;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, QueueBindOptions, QueueDeclareOptions,
};
use lapin::options::{ExchangeDeclareOptions, QueueDeleteOptions};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties, Consumer, ExchangeKind};
use tokio::time::timeout;

/// How long anything may take that should happen.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A service's connection.
pub struct Service {
    pub channel: Channel,
    _connection: Connection,
}

impl Service {
    pub async fn connect(url: &str) -> Self {
        let connection = Connection::connect(url, ConnectionProperties::default()).await.expect("the broker is there");
        Self { channel: connection.create_channel().await.expect("a channel opens"), _connection: connection }
    }

    pub async fn exchange(&self, name: &str, kind: ExchangeKind) {
        let options = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
        let call = self.channel.exchange_declare(name.into(), kind, options, FieldTable::default());
        call.await.expect("the exchange is declared");
    }

    pub async fn queue(&self, name: &str) {
        let call = self.channel.queue_declare(name.into(), QueueDeclareOptions::durable(), FieldTable::default());
        call.await.expect("the queue is declared");
    }

    pub async fn bind(&self, queue: &str, exchange: &str, key: &str) {
        let options = QueueBindOptions::default();
        let call = self.channel.queue_bind(queue.into(), exchange.into(), key.into(), options, FieldTable::default());
        call.await.expect("the queue is bound");
    }

    pub async fn delete_queue(&self, name: &str) {
        let call = self.channel.queue_delete(name.into(), QueueDeleteOptions::default());
        call.await.expect("the queue is deleted");
    }

    /// How many messages of a queue no consumer has in hand.
    pub async fn ready(&self, queue: &str) -> u32 {
        let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        self.channel.queue_declare(queue.into(), passive, FieldTable::default()).await.unwrap().message_count()
    }

    pub async fn send(&self, exchange: &str, key: &str, body: &str) {
        self.send_with(exchange, key, body, BasicProperties::default()).await;
    }

    pub async fn send_with(&self, exchange: &str, key: &str, body: &str, properties: BasicProperties) {
        self.send_bytes(exchange, key, body.as_bytes(), properties).await;
    }

    pub async fn send_bytes(&self, exchange: &str, key: &str, body: &[u8], properties: BasicProperties) {
        let options = BasicPublishOptions::default();
        let call = self.channel.basic_publish(exchange.into(), key.into(), options, body, properties);
        call.await.expect("the message is written");
    }

    pub async fn consume(&self, queue: &str) -> Consumer {
        let options = BasicConsumeOptions::default();
        let call = self.channel.basic_consume(queue.into(), "".into(), options, FieldTable::default());
        call.await.expect("the queue is consumed")
    }
}

/// The next message of a service's consumer, acknowledged.
pub async fn receive(consumer: &mut Consumer) -> lapin::message::Delivery {
    let delivery = timeout(PATIENCE, consumer.next()).await.expect("a message comes").expect("the queue stays");
    let delivery = delivery.expect("the channel stays");
    delivery.ack(BasicAckOptions::default()).await.expect("it is acknowledged");
    delivery
}

/// The next batch with anything in it but gaps that say that the tap is new; those are acknowledged on the way.
pub async fn next_batch(source: &mut dyn Source) -> Result<Batch, BusError> {
    loop {
        let batch = timeout(PATIENCE, source.next_batch()).await.expect("a batch comes")?;
        if batch.items.iter().all(|item| matches!(item, Item::Gap(_))) {
            batch.receipt.ack(true).await?;
        } else {
            return Ok(batch);
        }
    }
}

/// The bodies of deliveries, and `canary N` for canaries.
pub fn read(items: &[Item]) -> Vec<String> {
    let read = |item: &Item| match item {
        Item::Delivery(delivery) => String::from_utf8_lossy(&delivery.body).into_owned(),
        Item::Canary { sent_at, .. } => format!("canary {}", sent_at.0),
        Item::Gap(gap) => format!("gap {:?}", gap.kind),
    };
    items.iter().map(read).collect()
}

/// Reads and acknowledges until `count` items other than gaps have come.
pub async fn drain(source: &mut dyn Source, count: usize) -> Vec<String> {
    let mut seen = Vec::new();
    while seen.len() < count {
        let batch = next_batch(source).await.expect("the source stays");
        seen.extend(read(&batch.items).into_iter().filter(|text| !text.starts_with("gap ")));
        batch.receipt.ack(false).await.expect("the batch is acknowledged");
    }
    seen
}

/// Opens a tap nothing waits in, as the worker does: what it tells first is acknowledged, and then it consumes.
pub async fn open(tap: &dyn Tap) -> Box<dyn Source> {
    let mut source = timeout(PATIENCE, tap.source()).await.expect("the tap opens in time").expect("the tap opens");
    while let Some(batch) = batch_before_consuming(tap, source.as_mut()).await {
        assert!(read(&batch.items).iter().all(|text| text.starts_with("gap ")), "the tap was to be empty");
        batch.receipt.ack(true).await.expect("the gap is acknowledged");
    }
    source
}

async fn batch_before_consuming(tap: &dyn Tap, source: &mut dyn Source) -> Option<Batch> {
    let next = source.next_batch();
    tokio::pin!(next);
    loop {
        tokio::select! {
            batch = &mut next => return Some(batch.expect("the source stays")),
            () = tokio::time::sleep(Duration::from_millis(20)) => if tap.health().consuming { return None },
        }
    }
}

/// Looks until the tap is bound to the exchange.
pub async fn bind(tap: &dyn Tap, wanted: Wanted) {
    let binding = async {
        loop {
            if let Ok(looks) = tap.look(vec![wanted.clone()]).await
                && looks.iter().all(|look| look.bound)
            {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(PATIENCE, binding).await.expect("the tap is bound");
}

/// Waits until something is so.
pub async fn until(what: &str, so: impl Fn() -> bool) {
    let waiting = async {
        while !so() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("it never came about that {what}"));
}

pub fn wanted(exchange: &str) -> Wanted {
    Wanted { exchange: exchange.into(), ..Wanted::default() }
}

/// A mandatory publication to an exchange.
pub fn publication(key: &str, exchange: &str, routing_key: &str) -> Publication {
    let target = Target::Exchange { exchange: exchange.into(), routing_key: routing_key.into() };
    Publication { key: key.into(), target, envelope: Envelope::default(), body: key.into(), mandatory: true }
}

/// A publication to one queue.
pub fn retry(key: &str, queue: &str) -> Publication {
    Publication { target: Target::Queue(queue.into()), ..publication(key, "", "") }
}
