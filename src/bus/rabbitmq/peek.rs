//! A look at what passes through exchanges: one connection, one exclusive queue, gone when the look ends.
//!
//! ```text
//!   are the exchanges there? ─▶ is the tap there? ─▶ escrow.peek.UUID ◀─bind─ exchanges
//!                                                    │ until the time, the messages or the bytes are up
//!                                                    ▼
//!                                                 delete the queue, close
//! ```
//!
//! Never declares, changes or deletes anything foreign. Yet the end of the look takes its bindings away, and with its last binding
//! the broker deletes an auto-delete exchange: who calls this has to know that another binding stands. A broker in which the
//! connection breaks deletes the exclusive queue by itself.

use futures_util::StreamExt;
use lapin::options::{BasicConsumeOptions, QueueBindOptions, QueueDeclareOptions, QueueDeleteOptions};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::uri::AMQPUri;
use lapin::{Channel, Consumer};
use tokio::time::{Instant, timeout_at};
use uuid::Uuid;

use super::connect::{self, Fault, Live};
use super::names::{Names, OwnName};
use super::{source, topology};
use crate::bus::{BusError, Peek, PeekError, Peeked};

/// What waits in the queue when messages come faster than they are read; a look wants examples, not all.
const QUEUE_MAX_MESSAGES: i64 = 10_000;
const QUEUE_MAX_BYTES: i64 = 64 << 20;
/// Should a broker ever keep the queue of a connection that is gone.
const QUEUE_EXPIRES_MS: i64 = 60_000;

/// Looks at exchanges; ends early, with what was seen, when `stop` does.
///
/// # Errors
/// Nothing was seen, or the connection was lost.
pub async fn peek(url: &str, look: &Peek, stop: impl Future<Output = ()> + Send) -> Result<Vec<Peeked>, PeekError> {
    let uri: AMQPUri = super::read_url(url)?;
    let queue = OwnName::new(&format!("escrow.peek.{}", Uuid::new_v4()))
        .ok_or_else(|| BusError::Misconfigured("the queue for the look has no name".into()))?;
    let live = connect::once(&uri, "escrow-peek").await?;
    let seen = tokio::select! {
        seen = look_through(&live, &queue, look, stop) => seen,
        why = live.ended() => Err(PeekError::Bus(BusError::Disconnected(why.unwrap_or_else(|| "it ended".into())))),
    };
    live.close().await;
    seen
}

async fn look_through(
    live: &Live,
    queue: &OwnName,
    look: &Peek,
    stop: impl Future<Output = ()> + Send,
) -> Result<Vec<Peeked>, PeekError> {
    let mut exchanges = Vec::new();
    for name in &look.exchanges {
        let no_exchange = || PeekError::NoExchange(name.clone());
        let exchange = ShortString::try_new(name.as_str()).map_err(|_| no_exchange())?;
        if !topology::has_exchange(live, exchange.clone()).await.map_err(BusError::from)? {
            return Err(no_exchange());
        }
        exchanges.push(exchange);
    }
    if let Some(name) = &look.beside {
        let tap = Names::new(name)?.tap;
        if topology::own_queue(live, &tap).await.map_err(BusError::from)?.is_none() {
            return Err(PeekError::NoTap(tap.to_string()));
        }
    }
    // The queue belongs to the connection; all that may be refused from here on is asked on one channel.
    let channel = live.channel().await.map_err(BusError::from)?;
    declare(live, &channel, queue).await.map_err(BusError::from)?;
    for exchange in exchanges {
        let no_exchange = || PeekError::NoExchange(exchange.to_string());
        for key in look.binding_keys() {
            let key = ShortString::try_new(key.as_str())
                .map_err(|_| BusError::Misconfigured(format!("no binding key is as long as `{key:.40}…`")))?;
            let options = QueueBindOptions::default();
            let bind = channel.queue_bind(queue.short(), exchange.clone(), key, options, FieldTable::default());
            live.rpc("queue.bind", bind).await.map_err(|fault| or_missing(fault, no_exchange))?;
        }
    }
    let options = BasicConsumeOptions { no_ack: true, exclusive: true, ..BasicConsumeOptions::default() };
    let consume = channel.basic_consume(queue.short(), "".into(), options, FieldTable::default());
    let mut consumer = live.rpc("basic.consume", consume).await.map_err(BusError::from)?;
    let seen = gather(&mut consumer, look, stop).await?;
    // Asked for, so that the bindings are gone when the command ends and not a little later.
    let delete = channel.queue_delete(queue.short(), QueueDeleteOptions::default());
    if let Err(fault) = live.rpc("queue.delete", delete).await {
        tracing::debug!(?fault, %queue, "the queue of the look goes with its connection");
    }
    Ok(seen)
}

async fn gather(
    consumer: &mut Consumer,
    look: &Peek,
    stop: impl Future<Output = ()> + Send,
) -> Result<Vec<Peeked>, PeekError> {
    let began = Instant::now();
    let until = began + look.wait;
    let (mut seen, mut bytes) = (Vec::new(), 0);
    tokio::pin!(stop);
    while seen.len() < look.messages_max && bytes < look.bytes_max {
        let arrived = tokio::select! {
            biased;
            () = &mut stop => break,
            arrived = timeout_at(until, consumer.next()) => arrived,
        };
        match arrived {
            Err(_) => break,
            Ok(Some(Ok(arrived))) => {
                bytes += arrived.data.len();
                seen.push(Peeked { after: began.elapsed(), delivery: source::delivery(arrived) });
            }
            Ok(Some(Err(error))) => return Err(BusError::Disconnected(error.to_string()).into()),
            Ok(None) => return Err(BusError::Disconnected("the broker ended the consumer".into()).into()),
        }
    }
    Ok(seen)
}

/// Exclusive, because brokers may refuse transient queues that are not; classic, because no other type may be exclusive.
async fn declare(live: &Live, channel: &Channel, queue: &OwnName) -> Result<(), Fault> {
    let options = QueueDeclareOptions { exclusive: true, auto_delete: true, ..QueueDeclareOptions::default() };
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), AMQPValue::LongString("classic".into()));
    arguments.insert("x-overflow".into(), AMQPValue::LongString("drop-head".into()));
    arguments.insert("x-max-length".into(), AMQPValue::LongLongInt(QUEUE_MAX_MESSAGES));
    arguments.insert("x-max-length-bytes".into(), AMQPValue::LongLongInt(QUEUE_MAX_BYTES));
    arguments.insert("x-expires".into(), AMQPValue::LongLongInt(QUEUE_EXPIRES_MS));
    live.rpc("queue.declare", channel.queue_declare(queue.short(), options, arguments)).await.map(drop)
}

fn or_missing(fault: Fault, missing: impl FnOnce() -> PeekError) -> PeekError {
    match fault {
        Fault::Channel { code: 404, .. } => missing(),
        fault @ (Fault::Channel { .. } | Fault::Gone(_)) => PeekError::Bus(fault.into()),
    }
}
