//! One look at the watched exchanges: is it there, and is the tap bound to it.
//!
//! Only ever passive towards what is not Escrow's: a foreign exchange is declared in one case, when a definition says how and
//! a passive look says that it is absent. Binding is repeated at every look, because nothing tells that a binding has gone.

use std::sync::PoisonError;

use lapin::options::{ExchangeDeclareOptions, QueueBindOptions};
use lapin::types::{FieldTable, ShortString};
use lapin::{Channel, ExchangeKind};

use super::connect::{Fault, Live};
use super::tap::Shared;
use super::topology;
use crate::bus::{BusError, Look, Wanted};
use crate::saga::definition::Declare;

/// Looks at each wanted exchange, in order.
pub(super) async fn look(shared: &Shared, wanted: Vec<Wanted>) -> Result<Vec<Look>, BusError> {
    shared.wanted.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&wanted);
    let live = shared.consume.now()?;
    if let Some(state) = topology::queue_state(&live, &shared.names.tap).await? {
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
    let mut eye = Eye { live, channel: None };
    let mut looks = Vec::with_capacity(wanted.len());
    for one in wanted {
        looks.push(eye.look_at(shared, one).await?);
    }
    Ok(looks)
}

/// Removes bindings of the tap.
pub(super) async fn unbind(shared: &Shared, exchange: String, keys: Vec<String>) -> Result<(), BusError> {
    let live = shared.consume.now()?;
    let channel = live.channel().await?;
    for key in keys {
        let call =
            channel.queue_unbind(shared.names.tap.short(), short(&exchange)?, short(&key)?, FieldTable::default());
        match live.rpc("queue.unbind", call).await {
            // A binding, queue or exchange that is not there is unbound already. 3.10 does not even complain.
            Ok(()) => {}
            Err(Fault::Channel { code: 404, .. }) => return Ok(()),
            Err(fault) => return Err(fault.into()),
        }
    }
    Ok(())
}

/// A channel for looking, opened again whenever a refusal closed it.
struct Eye<'a> {
    live: &'a Live,
    channel: Option<Channel>,
}

impl Eye<'_> {
    async fn look_at(&mut self, shared: &Shared, wanted: &Wanted) -> Result<Look, BusError> {
        let mut look = Look { exchange: wanted.exchange.clone(), found: true, bound: false, problem: None };
        let Ok(exchange) = ShortString::try_new(wanted.exchange.as_str()) else {
            look.problem = Some("no exchange has a name this long".into());
            return Ok(look);
        };
        if let Err((code, text)) = self.find(&exchange).await? {
            look.found = code != 404;
            match (&wanted.declare, look.found) {
                (Some(declare), false) => {
                    if let Err((_, text)) = self.declare(&exchange, declare).await? {
                        look.problem = Some(format!("it is absent and cannot be declared: {text}"));
                        return Ok(look);
                    }
                }
                (None, false) => return Ok(look),
                (_, true) => {
                    look.problem = Some(text);
                    return Ok(look);
                }
            }
        }
        for key in wanted.binding_keys() {
            if let Err((_, text)) = self.bind(shared, &exchange, &key).await? {
                look.problem = Some(format!("the tap cannot be bound by `{key}`: {text}"));
                return Ok(look);
            }
        }
        look.bound = true;
        Ok(look)
    }

    /// Whether the exchange is there. The type is not looked at in a passive declare.
    async fn find(&mut self, exchange: &ShortString) -> Result<Result<(), (u16, String)>, BusError> {
        let channel = self.open().await?;
        let options = ExchangeDeclareOptions { passive: true, ..ExchangeDeclareOptions::default() };
        let call = channel.exchange_declare(exchange.clone(), ExchangeKind::Topic, options, FieldTable::default());
        let answer = self.live.rpc("exchange.declare", call).await;
        self.seen(answer)
    }

    /// Declares a foreign exchange word for word as its definition says. Only after [`Eye::find`] found it absent.
    async fn declare(
        &mut self,
        exchange: &ShortString,
        declare: &Declare,
    ) -> Result<Result<(), (u16, String)>, BusError> {
        let channel = self.open().await?;
        let kind = match declare.kind.as_str() {
            "direct" => ExchangeKind::Direct,
            "fanout" => ExchangeKind::Fanout,
            "headers" => ExchangeKind::Headers,
            "topic" => ExchangeKind::Topic,
            other => ExchangeKind::Custom(other.to_owned()),
        };
        let options = ExchangeDeclareOptions {
            passive: false,
            durable: declare.durable,
            auto_delete: declare.auto_delete,
            internal: declare.internal,
            nowait: false,
        };
        let call = channel.exchange_declare(exchange.clone(), kind, options, FieldTable::default());
        let answer = self.live.rpc("exchange.declare", call).await;
        self.seen(answer)
    }

    async fn bind(
        &mut self,
        shared: &Shared,
        exchange: &ShortString,
        key: &str,
    ) -> Result<Result<(), (u16, String)>, BusError> {
        let Ok(key) = ShortString::try_new(key) else {
            return Ok(Err((0, "no binding key is this long".into())));
        };
        let channel = self.open().await?;
        let (tap, options) = (shared.names.tap.short(), QueueBindOptions::default());
        let call = channel.queue_bind(tap, exchange.clone(), key, options, FieldTable::default());
        let answer = self.live.rpc("queue.bind", call).await;
        self.seen(answer)
    }

    async fn open(&mut self) -> Result<Channel, BusError> {
        if let Some(channel) = &self.channel {
            return Ok(channel.clone());
        }
        let channel = self.live.channel().await?;
        self.channel = Some(channel.clone());
        Ok(channel)
    }

    /// A refusal is an answer, and the channel is gone with it; anything else means that nothing is known.
    fn seen(&mut self, answer: Result<(), Fault>) -> Result<Result<(), (u16, String)>, BusError> {
        match answer {
            Ok(()) => Ok(Ok(())),
            Err(Fault::Channel { code, text }) => {
                self.channel = None;
                Ok(Err((code, text)))
            }
            Err(fault @ Fault::Gone(_)) => Err(fault.into()),
        }
    }
}

fn short(text: &str) -> Result<ShortString, BusError> {
    ShortString::try_new(text).map_err(|error| BusError::Misconfigured(error.to_string()))
}
