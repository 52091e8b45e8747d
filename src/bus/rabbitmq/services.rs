//! The demo's services on RabbitMQ: one connection, a channel for each inbox and one to publish on.
//!
//! Everything declared here is the services' own and none of Escrow's, so the names are theirs: this is the one place in the
//! folder that declares what does not begin with `escrow`, and Escrow itself never comes here. An anonymous queue is
//! exclusive and auto-delete: it goes with its channel.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions, ExchangeDeclareOptions,
    QueueBindOptions, QueueDeclareOptions,
};
use lapin::types::{FieldTable, ShortString};
use lapin::uri::AMQPUri;
use lapin::{Acker, BasicProperties, Channel, Consumer, ExchangeKind};
use tokio::sync::Mutex;
use tokio::time::timeout;

use super::connect::{Fault, Link, Live};
use super::convert;
use super::tap::close_channel;
use crate::bus::services::{Inbox, Said, ServiceLink};
use crate::bus::{Batch, BusError, Delivery, Item, Receipt, Source};

/// Messages on their way to one service: a service works on a few at a time.
const PREFETCH: u16 = 32;
/// Writing one message; a broker in alarm takes none.
const PUBLISH_TIMEOUT: Duration = Duration::from_secs(5);
/// AMQP: keep the message when the broker restarts.
const PERSISTENT: u8 = 2;

/// The services' side of one broker.
pub struct RabbitServices {
    link: Link,
    publishing: Mutex<Option<(Arc<Live>, Channel)>>,
}

impl RabbitServices {
    /// Begins to connect to `url`. Returns at once; needs a tokio runtime.
    ///
    /// # Errors
    /// `Misconfigured` when the URL cannot be right.
    pub fn start(url: &str) -> Result<Arc<Self>, BusError> {
        // The text of the error may hold the password, so it is not repeated.
        let uri: AMQPUri = url.parse().map_err(|_| {
            BusError::Misconfigured("the AMQP URL is not like amqp://user:password@host:5672/vhost".into())
        })?;
        Ok(Arc::new(Self { link: Link::start(uri, "demo-services"), publishing: Mutex::new(None) }))
    }

    async fn declare_all(&self, exchanges: Vec<String>) -> Result<(), BusError> {
        let live = self.link.wait().await?;
        for exchange in exchanges {
            let channel = live.channel().await?;
            let options = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
            let call =
                channel.exchange_declare(short(&exchange)?, ExchangeKind::Fanout, options, FieldTable::default());
            live.rpc("exchange.declare", call).await?;
        }
        Ok(())
    }

    async fn open(&self, inbox: Inbox) -> Result<RabbitInbox, BusError> {
        let live = self.link.wait().await?;
        let channel = live.channel().await?;
        let anonymous = inbox.queue.is_none();
        let options = if anonymous {
            QueueDeclareOptions { exclusive: true, auto_delete: true, durable: false, ..QueueDeclareOptions::durable() }
        } else {
            QueueDeclareOptions::durable()
        };
        let name = short(inbox.queue.as_deref().unwrap_or_default())?;
        let declared = live.rpc("queue.declare", channel.queue_declare(name, options, FieldTable::default())).await?;
        let queue = declared.name().clone();
        for exchange in &inbox.exchanges {
            let options = QueueBindOptions::default();
            let call = channel.queue_bind(queue.clone(), short(exchange)?, "".into(), options, FieldTable::default());
            live.rpc("queue.bind", call).await?;
        }
        live.rpc("basic.qos", channel.basic_qos(PREFETCH, BasicQosOptions::default())).await?;
        let options = BasicConsumeOptions { no_ack: anonymous, ..BasicConsumeOptions::default() };
        let call = channel.basic_consume(queue, "".into(), options, FieldTable::default());
        let consumer = live.rpc("basic.consume", call).await?;
        Ok(RabbitInbox { channel, consumer: Some(consumer), anonymous })
    }

    async fn send(&self, said: Said) -> Result<(), BusError> {
        let live = self.link.now()?;
        let mut publishing = self.publishing.lock().await;
        let kept = publishing.take().filter(|(of, channel)| Arc::ptr_eq(of, &live) && channel.status().connected());
        let channel = match kept {
            Some((_, channel)) => channel,
            None => live.channel().await?,
        };
        let properties = BasicProperties::default()
            .with_message_id(short(&said.message_id)?)
            .with_content_type("application/json".into())
            .with_delivery_mode(PERSISTENT);
        let options = BasicPublishOptions::default();
        let call = channel.basic_publish(short(&said.exchange)?, "".into(), options, &said.body, properties);
        match timeout(PUBLISH_TIMEOUT, call).await {
            Ok(Ok(_)) => {
                *publishing = Some((live, channel));
                Ok(())
            }
            Ok(Err(error)) => Err(Fault::from(&error).into()),
            Err(_) => Err(gone("the broker takes nothing now")),
        }
    }
}

impl ServiceLink for RabbitServices {
    fn declare(&self, exchanges: Vec<String>) -> BoxFuture<'_, Result<(), BusError>> {
        Box::pin(self.declare_all(exchanges))
    }

    fn listen(&self, inbox: Inbox) -> BoxFuture<'_, Result<Box<dyn Source>, BusError>> {
        Box::pin(async move { Ok(Box::new(self.open(inbox).await?) as Box<dyn Source>) })
    }

    fn publish(&self, said: Said) -> BoxFuture<'_, Result<(), BusError>> {
        Box::pin(self.send(said))
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.link.close())
    }
}

struct RabbitInbox {
    channel: Channel,
    /// `None` only while it is dropped.
    consumer: Option<Consumer>,
    anonymous: bool,
}

impl Source for RabbitInbox {
    fn next_batch(&mut self) -> BoxFuture<'_, Result<Batch, BusError>> {
        Box::pin(async move {
            let consumer = self.consumer.as_mut().ok_or_else(|| gone("this inbox is closed"))?;
            let arrived = consumer.next().await.ok_or_else(|| gone("the broker ended the consumer"))?;
            let arrived = arrived.map_err(|error| gone(&error.to_string()))?;
            let receipt = ServiceReceipt((!self.anonymous).then_some(arrived.acker));
            let delivery = Delivery {
                exchange: arrived.exchange.to_string(),
                routing_key: arrived.routing_key.to_string(),
                envelope: convert::to_envelope(&arrived.properties),
                body: arrived.data,
                redelivered: arrived.redelivered,
            };
            Ok(Batch {
                tap: None,
                items: vec![Item::Delivery(delivery)],
                lag: None,
                is_fresh: false,
                is_full: false,
                receipt: Box::new(receipt),
            })
        })
    }
}

impl Drop for RabbitInbox {
    fn drop(&mut self) {
        // With the channel go its consumer, an anonymous queue, and the hold on what was not acknowledged.
        close_channel(self.channel.clone(), self.consumer.take());
    }
}

/// One message in a service's hands; `None` where nothing is acknowledged.
struct ServiceReceipt(Option<Acker>);

impl Receipt for ServiceReceipt {
    fn ack(self: Box<Self>, _settle: bool) -> BoxFuture<'static, Result<(), BusError>> {
        Box::pin(async move {
            let Some(acker) = self.0 else { return Ok(()) };
            match timeout(PUBLISH_TIMEOUT, acker.ack(BasicAckOptions::default())).await {
                Ok(Ok(true)) => Ok(()),
                Ok(Ok(false)) => Err(gone("the channel of this message is closed")),
                Ok(Err(error)) => Err(gone(&error.to_string())),
                Err(_) => Err(gone("the acknowledgement could not be written")),
            }
        })
    }
}

fn short(text: &str) -> Result<ShortString, BusError> {
    ShortString::try_new(text).map_err(|_| BusError::Misconfigured(format!("`{text}` is too long for AMQP")))
}

fn gone(why: &str) -> BusError {
    BusError::Disconnected(why.into())
}
