//! Events over HTTP: a source whose deliveries come through a door.
//!
//! ```text
//!   POST /v1/events ─▶ HttpDoor::submit ──bounded queue──▶ HttpSource ─▶ batch ─▶ commit ─▶ ack ─▶ submit returns: 202
//! ```
//!
//! A caller is answered only when the batch that held its events was committed. Nothing is kept for it: if the commit fails,
//! the caller is told, and sends again.

use futures_util::future::BoxFuture;
use tokio::sync::{mpsc, oneshot};

use super::{Batch, BusError, Delivery, Item, Receipt, Source};

/// Requests waiting to be taken; more make their callers wait.
const QUEUE_REQUESTS: usize = 256;
/// A batch takes no further request once it holds this many events.
const BATCH_MESSAGES: usize = 1_000;
/// A batch takes no further request once it holds this many bytes.
const BATCH_BYTES: usize = 8 * 1024 * 1024;

/// A request's events, and where its answer goes.
struct Submission {
    deliveries: Vec<Delivery>,
    committed: oneshot::Sender<()>,
}

/// A source and the door into it.
pub fn channel() -> (HttpSource, HttpDoor) {
    let (sender, receiver) = mpsc::channel(QUEUE_REQUESTS);
    (HttpSource { receiver }, HttpDoor { sender })
}

/// Where the HTTP handlers bring events.
#[derive(Clone)]
pub struct HttpDoor {
    sender: mpsc::Sender<Submission>,
}

impl HttpDoor {
    /// Brings events in. Returns when they are committed, all of them in one batch.
    ///
    /// # Errors
    /// `Disconnected`: they are not known to be committed; the caller sends them again.
    pub async fn submit(&self, deliveries: Vec<Delivery>) -> Result<(), BusError> {
        if deliveries.is_empty() {
            return Ok(());
        }
        let (committed, answer) = oneshot::channel();
        let refused = |why: &str| BusError::Disconnected(why.into());
        self.sender
            .send(Submission { deliveries, committed })
            .await
            .map_err(|_| refused("no events are accepted over HTTP now"))?;
        answer.await.map_err(|_| refused("the events could not be committed"))
    }
}

/// Events over HTTP, as batches. Dropping it refuses what waits.
pub struct HttpSource {
    receiver: mpsc::Receiver<Submission>,
}

impl HttpSource {
    async fn next(&mut self) -> Result<Batch, BusError> {
        // The only wait: a cancelled call has taken nothing.
        let first = self.receiver.recv().await;
        let Some(first) = first else { return Err(BusError::Disconnected("the HTTP door is closed".into())) };
        let (mut items, mut waiting, mut bytes) = (Vec::new(), Vec::new(), 0);
        let mut next = Some(first);
        while let Some(Submission { deliveries, committed }) = next.take() {
            bytes += deliveries.iter().map(|delivery| delivery.body.len()).sum::<usize>();
            items.extend(deliveries.into_iter().map(Item::Delivery));
            waiting.push(committed);
            if items.len() < BATCH_MESSAGES && bytes < BATCH_BYTES {
                next = self.receiver.try_recv().ok();
            }
        }
        Ok(Batch {
            tap: None,
            items,
            lag: None,
            is_fresh: true,
            is_full: false,
            receipt: Box::new(HttpReceipt { waiting }),
        })
    }
}

impl Source for HttpSource {
    fn next_batch(&mut self) -> BoxFuture<'_, Result<Batch, BusError>> {
        Box::pin(self.next())
    }
}

/// The callers of one batch. Dropped, they are told that it was not committed.
struct HttpReceipt {
    waiting: Vec<oneshot::Sender<()>>,
}

impl Receipt for HttpReceipt {
    fn ack(self: Box<Self>, _settle: bool) -> BoxFuture<'static, Result<(), BusError>> {
        Box::pin(async move {
            for caller in self.waiting {
                // A caller that went away does not change what is committed.
                caller.send(()).ok();
            }
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bus::Envelope;

    fn event(body: &str) -> Delivery {
        Delivery {
            exchange: String::new(),
            routing_key: String::new(),
            envelope: Envelope::default(),
            body: body.into(),
            redelivered: false,
        }
    }

    #[tokio::test]
    async fn a_submission_returns_when_its_batch_is_acknowledged() {
        let (mut source, door) = channel();
        let other = door.clone();
        let first = tokio::spawn(async move { door.submit(vec![event("a"), event("b")]).await });
        let batch = source.next_batch().await.unwrap();
        assert_eq!(batch.items.len(), 2);
        assert!(!first.is_finished(), "nothing is committed yet");
        batch.receipt.ack(true).await.unwrap();
        first.await.unwrap().unwrap();

        let second = tokio::spawn(async move { other.submit(vec![event("c")]).await });
        drop(source.next_batch().await.unwrap());
        assert!(second.await.unwrap().is_err(), "the batch was given up");
    }

    #[tokio::test]
    async fn a_batch_takes_what_is_there() {
        let (mut source, door) = channel();
        let callers: Vec<_> = (0..5)
            .map(|n| {
                let door = door.clone();
                tokio::spawn(async move { door.submit(vec![event(&n.to_string())]).await })
            })
            .collect();
        let mut seen = 0;
        while seen < 5 {
            let batch = source.next_batch().await.unwrap();
            seen += batch.items.len();
            batch.receipt.ack(false).await.unwrap();
        }
        for caller in callers {
            caller.await.unwrap().unwrap();
        }
    }

    #[tokio::test]
    async fn a_closed_source_refuses() {
        let (source, door) = channel();
        drop(source);
        assert!(door.submit(vec![event("a")]).await.is_err());
    }
}
