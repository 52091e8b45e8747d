//! Services that survive whatever happens to the broker: a publisher that makes sure, and a service that undoes what it is asked.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::StreamExt as _;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, ConfirmSelectOptions};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties};
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// How long a broker may keep a service waiting before the service begins anew.
const TRY_FOR: Duration = Duration::from_secs(10);
/// Between two tries.
const PAUSE: Duration = Duration::from_millis(200);

/// A publisher that makes sure: persistent messages, confirms, and the same message again until it is confirmed.
pub struct Sure {
    url: String,
    channel: Option<(Connection, Channel)>,
}

impl Sure {
    /// Connects when there is something to say.
    pub fn new(url: &str) -> Self {
        Self { url: url.to_owned(), channel: None }
    }

    async fn channel(&mut self) -> Channel {
        loop {
            if let Some((_, channel)) = self.channel.as_ref().filter(|(_, channel)| channel.status().connected()) {
                return channel.clone();
            }
            self.channel = match timeout(TRY_FOR, connect(&self.url)).await {
                Ok(Ok((connection, channel))) => {
                    let confirms = channel.confirm_select(ConfirmSelectOptions::default()).await;
                    confirms.is_ok().then_some((connection, channel))
                }
                Ok(Err(_)) | Err(_) => None,
            };
            if self.channel.is_none() {
                tokio::time::sleep(PAUSE).await;
            }
        }
    }

    /// Returns once the broker has confirmed it.
    pub async fn publish(&mut self, exchange: &str, message_id: &str, body: &Value) {
        let body = body.to_string();
        loop {
            let properties = BasicProperties::default().with_message_id(message_id.into()).with_delivery_mode(2);
            let channel = self.channel().await;
            let sent = async {
                let options = BasicPublishOptions::default();
                channel.basic_publish(exchange.into(), "".into(), options, body.as_bytes(), properties).await?.await
            };
            match timeout(TRY_FOR, sent).await {
                Ok(Ok(lapin::Confirmation::Ack(_))) => return,
                Ok(Ok(_) | Err(_)) | Err(_) => self.channel = None,
            }
        }
    }
}

async fn connect(url: &str) -> lapin::Result<(Connection, Channel)> {
    let connection = Connection::connect(url, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    Ok((connection, channel))
}

/// What the services were asked to undo: for each order and compensation, the message ids it came under.
pub type Asked = BTreeMap<(String, String), Vec<String>>;

/// What they answered, by message id: the order and the event.
pub type Answered = BTreeMap<String, (String, String)>;

/// The services that refund and release: they take `RefundPayment` and `ReleaseInventory` from a durable queue and say that it
/// is done, under an id of their own for each order, so that a second answer is known for what it is.
pub struct Undoing {
    heard: Arc<Mutex<(Asked, Answered)>>,
    task: JoinHandle<()>,
}

impl Undoing {
    /// Consumes `queue` from now on, through every outage.
    pub fn start(url: &str, queue: &'static str) -> Self {
        let heard: Arc<Mutex<(Asked, Answered)>> = Arc::default();
        let (url, hears) = (url.to_owned(), Arc::clone(&heard));
        let task = tokio::spawn(async move {
            let mut answers = Sure::new(&url);
            loop {
                if let Ok(Ok(consuming)) = timeout(TRY_FOR, connect(&url)).await {
                    undo(&consuming.1, queue, &hears, &mut answers).await;
                }
                tokio::time::sleep(PAUSE).await;
            }
        });
        Self { heard, task }
    }

    /// What was asked and answered so far.
    pub fn heard(&self) -> (Asked, Answered) {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Undoing {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Undoes what it is asked, until the broker ends the consumer.
async fn undo(channel: &Channel, queue: &str, heard: &Mutex<(Asked, Answered)>, answers: &mut Sure) {
    let options = BasicConsumeOptions::default();
    let Ok(mut consumer) = channel.basic_consume(queue.into(), "".into(), options, FieldTable::default()).await else {
        return;
    };
    while let Some(Ok(delivery)) = consumer.next().await {
        let body: Value = serde_json::from_slice(&delivery.data).unwrap_or_default();
        let order = body["data"]["order_id"].as_str().unwrap_or_default();
        let asked = body["event_type"].as_str().unwrap_or_default();
        let answer = match asked {
            "RefundPayment" => Some(("payment_exchange", "PaymentRefunded")),
            "ReleaseInventory" => Some(("inventory_exchange", "InventoryReleased")),
            // The services' own events come along: the queue is bound to their exchanges.
            _ => None,
        };
        if let Some((exchange, event)) = answer {
            let id = delivery.properties.message_id().as_ref().map_or("none", |id| id.as_str()).to_owned();
            let answer_id = format!("{event}-{order}");
            {
                let mut heard = heard.lock().unwrap_or_else(PoisonError::into_inner);
                heard.0.entry((order.to_owned(), asked.to_owned())).or_default().push(id);
                heard.1.insert(answer_id.clone(), (order.to_owned(), event.to_owned()));
            }
            let body = json!({"event_type": event, "data": {"order_id": order}});
            answers.publish(exchange, &answer_id, &body).await;
        }
        if delivery.ack(BasicAckOptions::default()).await.is_err() {
            return;
        }
    }
}
