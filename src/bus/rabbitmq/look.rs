//! One look at the watched exchanges: is it there, and is the tap bound to it.
//!
//! Only ever passive towards what is not Escrow's: a foreign exchange is declared in one case, when a definition says how and
//! a passive look says that it is absent. Binding is repeated at every look, because nothing tells that a binding has gone.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use lapin::options::{ExchangeDeclareOptions, QueueBindOptions};
use lapin::types::{FieldTable, ShortString};
use lapin::{Channel, ExchangeKind};

use super::connect::{Fault, Live};
use super::names::Names;
use super::tap::Shared;
use super::topology;
use crate::bus::{BusError, Look, Wanted};
use crate::saga::definition::Declare;

/// Looks at each wanted exchange, in order.
pub(super) async fn look(shared: &Shared, wanted: Vec<Wanted>) -> Result<Vec<Look>, BusError> {
    shared.wanted.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&wanted);
    let live = shared.look.fresh().await?;
    if let Some(state) = topology::own_queue(&live, &shared.names.tap).await? {
        shared.note_depth(state.messages);
    }
    look_at_all(shared, &live, &wanted).await
}

/// Binds a tap that was declared anew to everything the last look was asked for.
pub(super) async fn bind_again(shared: &Shared, live: &Live) -> Result<(), BusError> {
    let wanted = shared.wanted.lock().unwrap_or_else(PoisonError::into_inner).clone();
    look_at_all(shared, live, &wanted).await.map(drop)
}

async fn look_at_all(shared: &Shared, live: &Live, wanted: &[Wanted]) -> Result<Vec<Look>, BusError> {
    let mut looks = Vec::with_capacity(wanted.len());
    for one in wanted {
        looks.push(look_at(live, shared, one).await?);
    }
    Ok(looks)
}

/// Removes bindings of the tap.
pub(super) async fn unbind(shared: &Shared, exchange: String, keys: Vec<String>) -> Result<(), BusError> {
    let live = shared.look.fresh().await?;
    unbind_by(&live, &shared.names, &exchange, keys).await
}

/// The same over any connection.
pub(super) async fn unbind_by(live: &Live, names: &Names, exchange: &str, keys: Vec<String>) -> Result<(), BusError> {
    let exchange = short(exchange)?;
    for key in keys {
        let (tap, from, key) = (names.tap.short(), exchange.clone(), short(&key)?);
        let unbind = async |channel: Channel| channel.queue_unbind(tap, from, key, FieldTable::default()).await;
        match live.ask("queue.unbind", unbind).await {
            // What is not there is unbound already. 3.10 does not even complain.
            Ok(()) | Err(Fault::Channel { code: 404, .. }) => {}
            Err(fault) => return Err(fault.into()),
        }
    }
    Ok(())
}

/// The broker's answer: done, or its code and reason for refusing.
type Answer = Result<(), (u16, String)>;

async fn look_at(live: &Live, shared: &Shared, wanted: &Wanted) -> Result<Look, BusError> {
    let mut look = Look { exchange: wanted.exchange.clone(), found: true, bound: false, problem: None };
    let Ok(exchange) = ShortString::try_new(wanted.exchange.as_str()) else {
        look.problem = Some("no exchange has a name this long".into());
        return Ok(look);
    };
    match topology::has_exchange(live, exchange.clone()).await {
        Ok(found) => look.found = found,
        Err(Fault::Channel { text, .. }) => {
            look.problem = Some(text);
            return Ok(look);
        }
        Err(fault @ Fault::Gone(_)) => return Err(fault.into()),
    }
    if !look.found {
        let Some(declared) = &wanted.declare else { return Ok(look) };
        if let Err((_, text)) = declare(live, &exchange, declared).await? {
            look.problem = Some(format!("it is absent and cannot be declared: {text}"));
            return Ok(look);
        }
    }
    let administered = shared.administered.load(Ordering::Acquire);
    for key in wanted.binding_keys() {
        match bind(live, shared, &exchange, &key).await? {
            Ok(()) => {}
            Err((403, _)) if administered => break,
            Err((_, text)) => {
                look.problem = Some(format!("the tap cannot be bound by `{key}`: {text}"));
                return Ok(look);
            }
        }
    }
    look.bound = true;
    Ok(look)
}

/// Declares a foreign exchange word for word as its definition says. Only after a look found it absent.
async fn declare(live: &Live, exchange: &ShortString, declared: &Declare) -> Result<Answer, BusError> {
    let kind = match declared.kind.as_str() {
        "direct" => ExchangeKind::Direct,
        "fanout" => ExchangeKind::Fanout,
        "headers" => ExchangeKind::Headers,
        "topic" => ExchangeKind::Topic,
        other => ExchangeKind::Custom(other.to_owned()),
    };
    let options = ExchangeDeclareOptions {
        passive: false,
        durable: declared.durable,
        auto_delete: declared.auto_delete,
        internal: declared.internal,
        nowait: false,
    };
    let declare =
        async |channel: Channel| channel.exchange_declare(exchange.clone(), kind, options, FieldTable::default()).await;
    answer(live.ask("exchange.declare", declare).await)
}

async fn bind(live: &Live, shared: &Shared, exchange: &ShortString, key: &str) -> Result<Answer, BusError> {
    let Ok(key) = ShortString::try_new(key) else {
        return Ok(Err((0, "no binding key is this long".into())));
    };
    let (tap, options) = (shared.names.tap.short(), QueueBindOptions::default());
    let bind =
        async |channel: Channel| channel.queue_bind(tap, exchange.clone(), key, options, FieldTable::default()).await;
    answer(live.ask("queue.bind", bind).await)
}

/// A refusal is an answer; anything else means that nothing is known.
fn answer(outcome: Result<(), Fault>) -> Result<Answer, BusError> {
    match outcome {
        Ok(()) => Ok(Ok(())),
        Err(Fault::Channel { code, text }) => Ok(Err((code, text))),
        Err(fault @ Fault::Gone(_)) => Err(fault.into()),
    }
}

fn short(text: &str) -> Result<ShortString, BusError> {
    ShortString::try_new(text).map_err(|error| BusError::Misconfigured(error.to_string()))
}
