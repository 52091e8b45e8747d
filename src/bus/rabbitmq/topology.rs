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
//!
//! A user who may declare nothing is in an administrator's hands (`escrow rabbit plan --bound-by administrator`): then it is enough that
//! what is wanted is there. Its arguments and bindings cannot be seen over AMQP, and are taken on the administrator's word.

use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions, QueuePurgeOptions};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{Channel, ExchangeKind};
use serde_json::{Value, json};

use super::connect::{Fault, Live};
use super::names::{Names, OwnName};
use crate::bus::BusError;

/// A requeue at the limit would throw the message away, and with no limit at all 3.10 puts it behind the canary.
const DELIVERY_LIMIT: i64 = 1_000_000_000;
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

/// Who made what is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Made {
    /// Escrow declared it, or found it to be exactly what it would declare.
    Own,
    /// Escrow may not declare it, and it is there.
    Administrator,
}

/// Escrow's exchanges, each with its type.
pub(super) fn exchanges(names: &Names) -> [(&OwnName, ExchangeKind); 4] {
    [
        (&names.exchange, ExchangeKind::Topic),
        (&names.canary_exchange, ExchangeKind::Direct),
        (&names.retry_exchange, ExchangeKind::Direct),
        (&names.lost_exchange, ExchangeKind::Direct),
    ]
}

/// The arguments of the queue of lost messages.
pub(super) fn lost_arguments() -> Vec<(&'static str, Value)> {
    vec![
        ("x-queue-type", json!("quorum")),
        ("x-overflow", json!("drop-head")),
        ("x-max-length", json!(LOST_MAX_MESSAGES)),
        ("x-max-length-bytes", json!(LOST_MAX_BYTES)),
    ]
}

/// The arguments of the tap.
pub(super) fn tap_arguments(names: &Names, bound: Bound) -> Vec<(&'static str, Value)> {
    let limit = |count: u64| json!(i64::try_from(count).unwrap_or(i64::MAX));
    vec![
        ("x-queue-type", json!("quorum")),
        ("x-single-active-consumer", json!(true)),
        ("x-overflow", json!("drop-head")),
        ("x-max-length", limit(bound.messages)),
        ("x-max-length-bytes", limit(bound.bytes)),
        ("x-dead-letter-exchange", json!(names.lost_exchange.as_str())),
        ("x-dead-letter-routing-key", json!(names.key.as_str())),
        ("x-delivery-limit", json!(DELIVERY_LIMIT)),
    ]
}

/// Declares Escrow's exchanges, or finds that they are there. They are the administrator's only if every one of them is.
pub(super) async fn declare_exchanges(live: &Live, names: &Names) -> Result<Made, BusError> {
    let mut made = Made::Administrator;
    for (name, kind) in exchanges(names) {
        match declare_exchange(live, name, kind).await {
            Ok(()) => made = Made::Own,
            Err(fault @ Fault::Channel { code: 403, .. }) => {
                if !has_exchange(live, name.short()).await? {
                    return Err(refusal("exchange", name, fault));
                }
            }
            Err(fault) => return Err(refusal("exchange", name, fault)),
        }
    }
    Ok(made)
}

/// Declares one of Escrow's exchanges.
pub(super) async fn declare_exchange(live: &Live, name: &OwnName, kind: ExchangeKind) -> Result<(), Fault> {
    let options = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
    let declare =
        async |channel: Channel| channel.exchange_declare(name.short(), kind, options, FieldTable::default()).await;
    live.ask("exchange.declare", declare).await
}

/// Declares the queue of lost messages, or finds that it is there.
pub(super) async fn declare_lost(live: &Live, names: &Names) -> Result<Made, BusError> {
    let made = declare_queue(live, &names.lost, lost_arguments()).await?;
    if made == Made::Own {
        bind_own(live, &names.lost, &names.lost_exchange, names).await?;
    }
    Ok(made)
}

/// Declares the tap, or makes sure that the one that is there is what it has to be, as far as Escrow may know.
pub(super) async fn declare_tap(live: &Live, names: &Names, bound: Bound) -> Result<Made, BusError> {
    let made = declare_queue(live, &names.tap, tap_arguments(names, bound)).await?;
    if made == Made::Own {
        bind_own(live, &names.tap, &names.canary_exchange, names).await?;
    }
    Ok(made)
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

/// Whether an exchange is there. A passive declare does not look at the type.
///
/// # Errors
/// The broker does not let it be seen, or nothing is known.
pub(super) async fn has_exchange(live: &Live, exchange: ShortString) -> Result<bool, Fault> {
    let options = ExchangeDeclareOptions { passive: true, ..ExchangeDeclareOptions::default() };
    let find = async |channel: Channel| {
        channel.exchange_declare(exchange, ExchangeKind::Topic, options, FieldTable::default()).await
    };
    match live.ask("exchange.declare", find).await {
        Ok(()) => Ok(true),
        Err(Fault::Channel { code: 404, .. }) => Ok(false),
        Err(fault) => Err(fault),
    }
}

/// Declares one of Escrow's queues, or finds that it is there; binds nothing.
pub(super) async fn declare_queue(
    live: &Live,
    name: &OwnName,
    arguments: Vec<(&str, Value)>,
) -> Result<Made, BusError> {
    let options = QueueDeclareOptions::durable();
    let table = field_table(arguments);
    let declare = async |channel: Channel| channel.queue_declare(name.short(), options, table).await;
    match live.ask("queue.declare", declare).await {
        Ok(_) => Ok(Made::Own),
        Err(fault @ Fault::Channel { code: 403, .. }) => match own_queue(live, name).await? {
            Some(_) => Ok(Made::Administrator),
            None => Err(refusal("queue", name, fault)),
        },
        Err(fault) => Err(refusal("queue", name, fault)),
    }
}

/// The arguments as AMQP has them. Brokers hold all whole numbers to be of one kind when they compare.
pub(super) fn field_table(arguments: Vec<(&str, Value)>) -> FieldTable {
    let mut table = FieldTable::default();
    for (name, value) in arguments {
        let value = match value {
            Value::Bool(flag) => AMQPValue::Boolean(flag),
            Value::Number(number) => AMQPValue::LongLongInt(number.as_i64().unwrap_or(i64::MAX)),
            other => AMQPValue::LongString(other.as_str().unwrap_or_default().into()),
        };
        table.insert(name.into(), value);
    }
    table
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
            "the {what} `{name}` is not there, and Escrow may not declare it ({text}); `escrow rabbit plan` says what an \
             administrator has to put in force"
        )),
        fault => fault.into(),
    }
}
