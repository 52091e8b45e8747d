//! The consuming side: batches from the tap, acknowledged once each and in order.
//!
//! ```text
//!   Absent ──gap committed──▶ declare ──▶ Consuming: wait for one delivery, take what is there besides, give it as a batch
//!                                             │ stream error, its end, a refused or skipped acknowledgement, a dropped receipt
//!                                             ▼
//!                                           over: the channel is closed, and everything unacknowledged comes again
//! ```
//!
//! Nothing is ever nacked or cancelled. Acknowledging is cumulative on a channel, so a receipt works only when all before it
//! were acknowledged: a batch that was given up takes the later ones with it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt};
use lapin::Acker;
use lapin::message::Delivery as Arrived;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::FieldTable;
use lapin::{Channel, Consumer};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::connect::Live;
use super::tap::{Shared, close_channel};
use super::{convert, look, topology};
use crate::bus::{Batch, BusError, Delivery, Item, Receipt, Source, canary};

/// Writing an acknowledgement; longer means that nothing can be written.
const ACK_TIMEOUT: Duration = Duration::from_secs(15);
/// Batches that may be with us at a time: one being written, one read and waiting for that, and two on their way, so that the next
/// is full as well. Measured: with two, every other batch was nearly empty.
const BATCHES_AHEAD: usize = 4;

/// One run of a source: over as soon as anything about it is in doubt.
struct Run {
    over: CancellationToken,
    /// Batches acknowledged, by number.
    acked: AtomicU64,
    advanced: tokio::sync::Notify,
}

/// Messages from the tap, on one channel of one connection.
pub(super) struct RabbitSource {
    shared: Arc<Shared>,
    live: Arc<Live>,
    run: Arc<Run>,
    /// `None` while the tap is not there.
    stream: Option<(Channel, Consumer)>,
    /// Off the stream and in no batch yet: kept here, so that a cancelled call loses nothing.
    taken: VecDeque<Arrived>,
    batches: u64,
    gaps_offered: u64,
}

impl RabbitSource {
    pub(super) fn new(shared: Arc<Shared>, live: Arc<Live>) -> Self {
        let over = CancellationToken::new();
        let run = Arc::new(Run { over, acked: AtomicU64::new(0), advanced: tokio::sync::Notify::new() });
        Self { shared, live, run, stream: None, taken: VecDeque::new(), batches: 0, gaps_offered: 0 }
    }

    async fn next(&mut self) -> Result<Batch, BusError> {
        loop {
            self.ensure_running()?;
            let gaps = self.shared.gaps.after(self.gaps_offered);
            if !gaps.is_empty() && self.taken.is_empty() {
                return Ok(self.batch(Vec::new()));
            }
            if self.stream.is_none() {
                self.all_acknowledged().await?;
                self.begin().await?;
                continue;
            }
            if self.taken.is_empty() && !self.take_first().await? {
                continue;
            }
            self.take_rest()?;
            if self.taken.iter().any(is_canary) {
                // Whatever was dropped before a canary came is told before it.
                self.shared.check().await?;
            }
            // No await from here on: what is taken is in the batch.
            let items = self.taken.drain(..).collect();
            return Ok(self.batch(items));
        }
    }

    fn ensure_running(&mut self) -> Result<(), BusError> {
        if self.run.over.is_cancelled() || !self.live.is_up() {
            self.stop();
            return Err(gone("this source is over"));
        }
        Ok(())
    }

    /// Ends this run: what is unacknowledged comes again from the next source.
    fn stop(&mut self) {
        self.run.over.cancel();
        self.taken.clear();
        if let Some((channel, consumer)) = self.stream.take() {
            self.shared.consumers.fetch_sub(1, Ordering::AcqRel);
            close_channel(channel, Some(consumer));
        }
    }

    /// Waits until every batch given was acknowledged: the gap that says that the tap was absent is then committed.
    async fn all_acknowledged(&self) -> Result<(), BusError> {
        loop {
            let advanced = self.run.advanced.notified();
            tokio::pin!(advanced);
            advanced.as_mut().enable();
            if self.run.acked.load(Ordering::Acquire) >= self.batches {
                return Ok(());
            }
            tokio::select! {
                () = advanced => {}
                () = self.run.over.cancelled() => return Err(gone("a batch was given up")),
            }
        }
    }

    /// Declares the tap and starts to consume.
    async fn begin(&mut self) -> Result<(), BusError> {
        let (names, live) = (&self.shared.names, &self.live);
        let look = self.shared.look.fresh().await?;
        let was_there = topology::own_queue(&look, &names.tap).await?.is_some();
        topology::declare_tap(&look, names, self.shared.options.bound).await?;
        if !was_there {
            look::bind_again(&self.shared, &look).await?;
        }
        let channel = live.channel().await?;
        let prefetch = self.shared.options.batch_messages.saturating_mul(BATCHES_AHEAD);
        let prefetch = u16::try_from(prefetch).unwrap_or(u16::MAX);
        // Before consuming: the client's buffer has no bound of its own.
        live.rpc("basic.qos", channel.basic_qos(prefetch, BasicQosOptions::default())).await?;
        let (queue, options) = (names.tap.short(), BasicConsumeOptions::default());
        let call = channel.basic_consume(queue, "".into(), options, FieldTable::default());
        let consumer = live.rpc("basic.consume", call).await?;
        self.shared.consumers.fetch_add(1, Ordering::AcqRel);
        self.stream = Some((channel, consumer));
        self.shared.say(None);
        Ok(())
    }

    /// Waits for a delivery; `false` when there is a gap to be told first.
    async fn take_first(&mut self) -> Result<bool, BusError> {
        let Some((_, consumer)) = self.stream.as_mut() else { return Ok(false) };
        let arrived = tokio::select! {
            biased;
            () = self.run.over.cancelled() => return Err(gone("a batch was given up")),
            () = self.shared.gaps.wait(self.gaps_offered) => return Ok(false),
            arrived = consumer.next() => arrived,
        };
        self.keep(arrived)?;
        Ok(true)
    }

    /// Takes what is there besides, up to the bounds, without waiting.
    fn take_rest(&mut self) -> Result<(), BusError> {
        let (messages, bytes) = (self.shared.options.batch_messages, self.shared.options.batch_bytes);
        let mut taken_bytes: usize = self.taken.iter().map(|arrived| arrived.data.len()).sum();
        while self.taken.len() < messages && taken_bytes < bytes {
            let Some((_, consumer)) = self.stream.as_mut() else { break };
            let Some(arrived) = consumer.next().now_or_never() else { break };
            taken_bytes += self.keep(arrived)?;
        }
        Ok(())
    }

    /// Keeps a delivery. The stream's error and its end both mean that the tap is to be opened again.
    fn keep(&mut self, arrived: Option<lapin::Result<Arrived>>) -> Result<usize, BusError> {
        match arrived {
            Some(Ok(arrived)) => {
                let bytes = arrived.data.len();
                self.taken.push_back(arrived);
                Ok(bytes)
            }
            Some(Err(error)) => {
                self.stop();
                Err(gone(&error.to_string()))
            }
            None => {
                self.stop();
                Err(gone("the broker ended the consumer: the tap was deleted, or its node went away"))
            }
        }
    }

    fn batch(&mut self, arrived: Vec<Arrived>) -> Batch {
        let gaps = self.shared.gaps.after(self.gaps_offered);
        let gaps_through = gaps.last().map(|(number, _)| *number);
        self.gaps_offered = gaps_through.unwrap_or(self.gaps_offered);
        self.batches += 1;
        let is_full = arrived.len() >= self.shared.options.batch_messages;
        let is_fresh = arrived.iter().any(|arrived| !arrived.redelivered);
        let acker = arrived.last().map(|last| last.acker.clone());
        let mut items: Vec<Item> = gaps.into_iter().map(|(_, gap)| Item::Gap(gap)).collect();
        for one in arrived {
            let item = item(one);
            if let Some(Item::Canary { sent_at, .. }) = &item {
                self.shared.flights.back(*sent_at);
            }
            items.extend(item);
        }
        let receipt = RabbitReceipt {
            shared: Arc::clone(&self.shared),
            live: Arc::clone(&self.live),
            run: Arc::clone(&self.run),
            channel: self.stream.as_ref().map(|(channel, _)| channel.clone()),
            number: self.batches,
            acker,
            gaps_through,
            done: false,
        };
        let (tap, lag) = (self.shared.names.tap.to_string(), self.shared.flights.lag());
        Batch { tap: Some(tap), items, lag, is_fresh, is_full, receipt: Box::new(receipt) }
    }
}

impl Source for RabbitSource {
    fn next_batch(&mut self) -> BoxFuture<'_, Result<Batch, BusError>> {
        Box::pin(async {
            let batch = self.next().await;
            if let Err(error) = &batch {
                self.shared.say(Some(error.to_string()));
            }
            batch
        })
    }
}

impl Drop for RabbitSource {
    fn drop(&mut self) {
        self.stop();
    }
}

struct RabbitReceipt {
    shared: Arc<Shared>,
    live: Arc<Live>,
    run: Arc<Run>,
    channel: Option<Channel>,
    number: u64,
    /// Of the last delivery; `None` if the batch holds none.
    acker: Option<Acker>,
    gaps_through: Option<u64>,
    done: bool,
}

impl RabbitReceipt {
    async fn acknowledge(mut self, settle: bool) -> Result<(), BusError> {
        if self.run.over.is_cancelled() {
            return Err(gone("the source of this batch is over"));
        }
        if self.run.acked.load(Ordering::Acquire) + 1 != self.number {
            return Err(gone("a batch before this one was not acknowledged"));
        }
        if let Some(acker) = &self.acker {
            match timeout(ACK_TIMEOUT, acker.ack(BasicAckOptions { multiple: true })).await {
                Ok(Ok(true)) => {}
                Ok(Ok(false)) => return Err(gone("the channel of this batch is closed")),
                Ok(Err(error)) => return Err(gone(&error.to_string())),
                Err(_) => return Err(gone("the acknowledgement could not be written")),
            }
            if settle && let Some(channel) = &self.channel {
                // A question to the queue itself, behind the acknowledgement on the same channel.
                let question = topology::look(channel, self.shared.names.tap.short());
                let state = self.live.rpc("queue.declare", question).await?;
                self.shared.note_depth(state.messages);
            }
        }
        self.done = true;
        self.run.acked.store(self.number, Ordering::Release);
        if let Some(through) = self.gaps_through {
            self.shared.committed(through).await;
        }
        self.run.advanced.notify_waiters();
        Ok(())
    }
}

impl Receipt for RabbitReceipt {
    fn ack(self: Box<Self>, settle: bool) -> BoxFuture<'static, Result<(), BusError>> {
        Box::pin(self.acknowledge(settle))
    }
}

impl Drop for RabbitReceipt {
    fn drop(&mut self) {
        if !self.done {
            // Given up, or in doubt. Only a closed channel gives the messages back in their order.
            self.run.over.cancel();
            if let Some(channel) = self.channel.take() {
                close_channel(channel, None);
            }
        }
    }
}

fn is_canary(arrived: &Arrived) -> bool {
    arrived.exchange.as_str() == canary::EXCHANGE
}

fn item(arrived: Arrived) -> Option<Item> {
    if is_canary(&arrived) {
        return canary::read(&convert::to_envelope(&arrived.properties)).or_else(|| {
            tracing::warn!("something that is no canary came through {}", canary::EXCHANGE);
            None
        });
    }
    Some(Item::Delivery(delivery(arrived)))
}

/// A message as the seam knows it.
pub(super) fn delivery(arrived: Arrived) -> Delivery {
    Delivery {
        exchange: arrived.exchange.to_string(),
        routing_key: arrived.routing_key.to_string(),
        envelope: convert::to_envelope(&arrived.properties),
        body: arrived.data,
        redelivered: arrived.redelivered,
    }
}

fn gone(why: &str) -> BusError {
    BusError::Disconnected(why.into())
}
