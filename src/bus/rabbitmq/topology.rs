//! What Escrow declares on a broker, and how it looks at its own queues.
//!
//! ```text
//!   watched exchanges ──(bound by look)──▶ ┌───────────────────┐ full: drops its oldest
//!   escrow.canary ──NAME──▶                │ escrow.tap.NAME   │ ──escrow.lost──NAME──▶ escrow.lost.NAME
//!   escrow.retry ──(administrator's binding)──▶ a service's queue
//!   escrow (topic) ──▶ whoever listens to tellings
//! ```
//!
//! Every call goes to the connection for looking, because a refusal closes the channel. Arguments are those that 3.10 and 4.x both
//! take; nothing here is transient.

use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions, QueuePurgeOptions};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{Channel, ExchangeKind};

use super::connect::{Fault, Live};
use super::names::{Names, OwnName};
use crate::bus::BusError;

/// A requeue at the limit would throw the message away, and with no limit at all 3.10 puts it behind the canary.
const DELIVERY_LIMIT: i32 = 1_000_000_000;
/// Lost messages are counted, not read: enough to see that it happened and what kind of messages they were.
const LOST_MAX_MESSAGES: i64 = 10_000;
const LOST_MAX_BYTES: i64 = 64 * 1024 * 1024;

/// The bound of a tap: what is more drops its oldest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bound {
    pub messages: u64,
    pub bytes: u64,
}

impl Default for Bound {
    fn default() -> Self {
        Self { messages: 1_000_000, bytes: 4 * 1024 * 1024 * 1024 }
    }
}

/// What a passive look at a queue shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct QueueState {
    /// Ready to be delivered; those in a consumer's hands are not counted.
    pub(super) messages: u32,
    pub(super) consumers: u32,
}

/// Declares Escrow's exchanges.
pub(super) async fn declare_exchanges(live: &Live, names: &Names) -> Result<(), BusError> {
    let wanted = [
        (&names.exchange, ExchangeKind::Topic),
        (&names.canary_exchange, ExchangeKind::Direct),
        (&names.retry_exchange, ExchangeKind::Direct),
        (&names.lost_exchange, ExchangeKind::Direct),
    ];
    for (name, kind) in wanted {
        let options = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
        let declare =
            async |channel: Channel| channel.exchange_declare(name.short(), kind, options, FieldTable::default()).await;
        live.ask("exchange.declare", declare).await.map_err(|fault| refusal("exchange", name, fault))?;
    }
    Ok(())
}

/// Declares the queue of lost messages.
pub(super) async fn declare_lost(live: &Live, names: &Names) -> Result<(), BusError> {
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), text("quorum"));
    arguments.insert("x-overflow".into(), text("drop-head"));
    arguments.insert("x-max-length".into(), AMQPValue::LongLongInt(LOST_MAX_MESSAGES));
    arguments.insert("x-max-length-bytes".into(), AMQPValue::LongLongInt(LOST_MAX_BYTES));
    declare_queue(live, &names.lost, arguments).await?;
    bind_own(live, &names.lost, &names.lost_exchange, names).await
}

/// Declares the tap, or makes sure that the one that is there is what it has to be.
pub(super) async fn declare_tap(live: &Live, names: &Names, bound: Bound) -> Result<(), BusError> {
    let limit = |count: u64| AMQPValue::LongLongInt(i64::try_from(count).unwrap_or(i64::MAX));
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), text("quorum"));
    arguments.insert("x-single-active-consumer".into(), AMQPValue::Boolean(true));
    arguments.insert("x-overflow".into(), text("drop-head"));
    arguments.insert("x-max-length".into(), limit(bound.messages));
    arguments.insert("x-max-length-bytes".into(), limit(bound.bytes));
    arguments.insert("x-dead-letter-exchange".into(), text(names.lost_exchange.as_str()));
    arguments.insert("x-dead-letter-routing-key".into(), text(names.key.as_str()));
    arguments.insert("x-delivery-limit".into(), AMQPValue::LongInt(DELIVERY_LIMIT));
    declare_queue(live, &names.tap, arguments).await?;
    bind_own(live, &names.tap, &names.canary_exchange, names).await
}

/// How one of Escrow's queues is; `None` if it is not there.
pub(super) async fn own_queue(live: &Live, queue: &OwnName) -> Result<Option<QueueState>, Fault> {
    match queue_state(live, queue.short()).await {
        Ok(state) => Ok(Some(state)),
        Err(Fault::Channel { code: 404, .. }) => Ok(None),
        Err(fault) => Err(fault),
    }
}

/// A passive look at any queue; needs no permission on 3.10 and any permission on 4.3.
pub(super) async fn queue_state(live: &Live, queue: ShortString) -> Result<QueueState, Fault> {
    live.ask("queue.declare", async |channel: Channel| look(&channel, queue).await).await
}

/// The same on a channel of the caller's; a refusal closes it.
pub(super) async fn look(channel: &Channel, queue: ShortString) -> lapin::Result<QueueState> {
    let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::durable() };
    let state = channel.queue_declare(queue, options, FieldTable::default()).await?;
    Ok(QueueState { messages: state.message_count(), consumers: state.consumer_count() })
}

/// Empties one of Escrow's queues. Returns how many messages went.
pub(super) async fn empty(live: &Live, queue: &OwnName) -> Result<u32, Fault> {
    let purge = async |channel: Channel| channel.queue_purge(queue.short(), QueuePurgeOptions::default()).await;
    live.ask("queue.purge", purge).await
}

async fn declare_queue(live: &Live, name: &OwnName, arguments: FieldTable) -> Result<(), BusError> {
    let options = QueueDeclareOptions::durable();
    let declare = async |channel: Channel| channel.queue_declare(name.short(), options, arguments).await;
    live.ask("queue.declare", declare).await.map_err(|fault| refusal("queue", name, fault))?;
    Ok(())
}

/// Binds an own queue to an own exchange, by the name of the tap.
async fn bind_own(live: &Live, queue: &OwnName, exchange: &OwnName, names: &Names) -> Result<(), BusError> {
    let bind = async |channel: Channel| {
        let (options, key) = (QueueBindOptions::default(), names.key.clone());
        channel.queue_bind(queue.short(), exchange.short(), key, options, FieldTable::default()).await
    };
    Ok(live.ask("queue.bind", bind).await?)
}

fn refusal(what: &str, name: &OwnName, fault: Fault) -> BusError {
    match fault {
        Fault::Channel { code: 406, text } => BusError::Misconfigured(format!(
            "the {what} `{name}` exists with other arguments ({text}); give the same bounds as before, or delete it once it is \
             empty"
        )),
        Fault::Channel { code: 403, text } => BusError::Misconfigured(format!(
            "Escrow may not declare the {what} `{name}` ({text}); it needs configure, write and read on `^escrow(\\..*)?$`"
        )),
        fault => fault.into(),
    }
}

fn text(value: &str) -> AMQPValue {
    AMQPValue::LongString(value.into())
}
