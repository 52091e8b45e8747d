//! Services on the bus in memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::future::BoxFuture;

use super::{Kind, MemoryBus, Received, Subscription};
use crate::bus::services::{Inbox, Said, ServiceLink};
use crate::bus::{Batch, BusError, Envelope, Item, Published, Receipt, Source};

/// The services' side of one bus.
pub struct MemoryServices {
    bus: MemoryBus,
    anonymous: AtomicU64,
}

impl MemoryServices {
    /// Services on `bus`.
    pub fn new(bus: MemoryBus) -> Arc<Self> {
        Arc::new(Self { bus, anonymous: AtomicU64::new(0) })
    }

    fn open(&self, inbox: &Inbox) -> Result<MemoryInbox, BusError> {
        let (queue, anonymous) = match &inbox.queue {
            Some(name) => (name.clone(), false),
            None => (format!("anonymous-{}", self.anonymous.fetch_add(1, Ordering::Relaxed)), true),
        };
        self.bus.declare_queue(&queue);
        for exchange in &inbox.exchanges {
            if !self.bus.bind(&queue, exchange, "") {
                return Err(BusError::Misconfigured(format!("there is no exchange `{exchange}`")));
            }
        }
        let subscription = self.bus.subscribe(&queue).ok_or_else(gone)?;
        Ok(MemoryInbox { subscription: Some(subscription), bus: self.bus.clone(), queue, anonymous })
    }
}

impl ServiceLink for MemoryServices {
    fn declare(&self, exchanges: Vec<String>) -> BoxFuture<'_, Result<(), BusError>> {
        for exchange in &exchanges {
            self.bus.declare_exchange(exchange, Kind::Fanout);
        }
        Box::pin(std::future::ready(Ok(())))
    }

    fn listen(&self, inbox: Inbox) -> BoxFuture<'_, Result<Box<dyn Source>, BusError>> {
        let opened = self.open(&inbox).map(|source| Box::new(source) as Box<dyn Source>);
        Box::pin(std::future::ready(opened))
    }

    fn publish(&self, said: Said) -> BoxFuture<'_, Result<(), BusError>> {
        let mut envelope = Envelope::default();
        envelope.properties.insert("message_id".into(), said.message_id.into());
        envelope.properties.insert("content_type".into(), "application/json".into());
        let word = self.bus.send(&said.exchange, "", envelope, said.body);
        Box::pin(std::future::ready(match word {
            Published::Confirmed => Ok(()),
            Published::Unroutable(why)
            | Published::Refused(why)
            | Published::Withheld(why)
            | Published::Unknown(why) => Err(BusError::Disconnected(why)),
        }))
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }
}

struct MemoryInbox {
    /// `None` only while it is dropped.
    subscription: Option<Subscription>,
    bus: MemoryBus,
    queue: String,
    anonymous: bool,
}

impl Source for MemoryInbox {
    fn next_batch(&mut self) -> BoxFuture<'_, Result<Batch, BusError>> {
        Box::pin(async move {
            let received = self.subscription.as_mut().ok_or_else(gone)?.next().await.ok_or_else(gone)?;
            let items = vec![Item::Delivery(received.delivery.clone())];
            let receipt: Box<dyn Receipt> = if self.anonymous {
                received.ack();
                Box::new(Settled)
            } else {
                Box::new(Held(received))
            };
            Ok(Batch { tap: None, items, lag: None, is_fresh: false, is_full: false, receipt })
        })
    }
}

impl Drop for MemoryInbox {
    fn drop(&mut self) {
        self.subscription = None;
        if self.anonymous {
            self.bus.delete_queue(&self.queue);
        }
    }
}

/// A message of a named queue.
struct Held(Received);

impl Receipt for Held {
    fn ack(self: Box<Self>, _settle: bool) -> BoxFuture<'static, Result<(), BusError>> {
        self.0.ack();
        Box::pin(std::future::ready(Ok(())))
    }
}

/// A message that was forgotten by its queue as it was given.
struct Settled;

impl Receipt for Settled {
    fn ack(self: Box<Self>, _settle: bool) -> BoxFuture<'static, Result<(), BusError>> {
        Box::pin(std::future::ready(Ok(())))
    }
}

fn gone() -> BusError {
    BusError::Disconnected("the bus in memory is down, or the queue is gone".into())
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    fn said(body: &str) -> Said {
        Said { exchange: "order_exchange".into(), message_id: "m".into(), body: body.into() }
    }

    async fn services() -> Arc<MemoryServices> {
        let services = MemoryServices::new(MemoryBus::default());
        services.declare(vec!["order_exchange".into()]).await.unwrap();
        services
    }

    async fn listen(services: &MemoryServices, queue: Option<&str>) -> Box<dyn Source> {
        let inbox = Inbox { exchanges: vec!["order_exchange".into()], queue: queue.map(Into::into) };
        services.listen(inbox).await.unwrap()
    }

    fn body(batch: &Batch) -> &[u8] {
        match &batch.items[..] {
            [Item::Delivery(delivery)] => &delivery.body,
            other => panic!("one delivery, not {other:?}"),
        }
    }

    #[tokio::test]
    async fn an_anonymous_queue_misses_what_is_said_while_its_service_is_down() {
        let services = services().await;
        drop(listen(&services, None).await);
        services.publish(said("missed")).await.unwrap();
        let mut source = listen(&services, None).await;
        services.publish(said("heard")).await.unwrap();
        assert_eq!(body(&source.next_batch().await.unwrap()), b"heard");
        assert!(source.next_batch().now_or_never().is_none());
    }

    #[tokio::test]
    async fn a_named_queue_keeps_what_was_not_acknowledged() {
        let services = services().await;
        let mut source = listen(&services, Some("inventory")).await;
        services.publish(said("one")).await.unwrap();
        drop(source.next_batch().await.unwrap());
        drop(source);
        services.publish(said("two")).await.unwrap();
        let mut source = listen(&services, Some("inventory")).await;
        for expected in ["one", "two"] {
            let batch = source.next_batch().await.unwrap();
            assert_eq!(body(&batch), expected.as_bytes());
            batch.receipt.ack(false).await.unwrap();
        }
        drop(source);
        assert_eq!(services.bus.depth("inventory"), Some(0));
    }
}
