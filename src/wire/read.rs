//! Reads one message as one saga does: what it means to it, whose order it is, what tells it from others.
//!
//! ```text
//!   watched here? ──▶ event name ──▶ roles ──▶ conditions ──▶ order id ──▶ parts ──▶ id, time, attributes
//!        │ no             │ none        │ none      │ none hold     │ none       │ none      never stop it
//!    Elsewhere        Unreadable     Ignored     Ignored       Unreadable   Unreadable
//! ```
//!
//! The first question that settles it is the last one asked: of an event no step names, nothing else is read.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;
use sha2::Digest as _;

use super::binding;
use super::message::Message;
use super::reader::{Reader, Unnamed};
use super::select::storable;
use crate::saga::batch::QuarantineReason;
use crate::saga::definition::{OrderIdFrom, PatternRole, Read, Role, Saga, Selector, StepIx};
use crate::saga::expression::Scope;
use crate::saga::input::{Event, MessageRef};
use crate::saga::journal::hex;
use crate::saga::order::Identity;
use crate::saga::time::Moment;

/// Longest message id that is shown; its identity covers all of it.
const SHOWN_ID_BYTES_MAX: usize = 256;

/// 9999-12-31T23:59:59Z in seconds. What is later was written in milliseconds, a common mistake of publishers.
const LAST_SECOND: i64 = 253_402_300_799;

/// What a message is to a saga: exactly one of these.
#[derive(Clone, Debug)]
pub enum Reading {
    /// The saga does not watch the place it came from.
    Elsewhere,
    /// No step names the event, or none of the conditions holds.
    Ignored {
        event: String,
    },
    Event {
        order: OrderRef,
        event: Box<Event>,
    },
    Unreadable {
        reason: QuarantineReason,
        /// What exactly is wrong, for a person.
        detail: String,
        /// The event, where that much is known: one that the saga names.
        event: Option<String>,
        order_id: Option<String>,
    },
}

/// Which order an event belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OrderRef {
    /// 1 to 256 bytes, none of them zero.
    Id(String),
    /// The message does not say; it is placed by the order of arrival (rule 5).
    Arrival,
}

/// Reads `message` as `saga` does.
///
/// A saga may watch one exchange in several ways. The first way in which the message is an event of the saga counts; else
/// what is closest to one: an event it names that cannot be read, one it does not name, no event at all.
pub fn read(saga: &Saga, message: &Message<'_>) -> Reading {
    let delivery = message.delivery;
    let mut closest = Reading::Elsewhere;
    for way in binding::reads(saga, &delivery.exchange, &delivery.routing_key, delivery.is_http()) {
        let reading = read_by(saga, way, message).unwrap_or_else(Reading::from);
        if reading.closeness() > closest.closeness() {
            closest = reading;
        }
    }
    closest
}

impl Reading {
    /// The name of the event, where that much is known.
    pub fn event(&self) -> Option<&str> {
        match self {
            Self::Elsewhere => None,
            Self::Ignored { event } => Some(event),
            Self::Event { event, .. } => Some(&event.name),
            Self::Unreadable { event, .. } => event.as_deref(),
        }
    }

    fn closeness(&self) -> u8 {
        match self {
            Self::Elsewhere => 0,
            Self::Unreadable { event: None, .. } => 1,
            Self::Ignored { .. } => 2,
            Self::Unreadable { event: Some(_), .. } => 3,
            Self::Event { .. } => 4,
        }
    }
}

/// Why a message cannot be read.
struct Fault {
    reason: QuarantineReason,
    detail: String,
    event: Option<String>,
    order_id: Option<String>,
}

impl Fault {
    fn new(reason: QuarantineReason, detail: impl Into<String>) -> Self {
        Self { reason, detail: detail.into(), event: None, order_id: None }
    }

    fn unreadable(detail: impl Into<String>) -> Self {
        Self::new(QuarantineReason::Unreadable, detail)
    }

    fn of(self, event: &str, order: Option<&OrderRef>) -> Self {
        let order_id = match order {
            Some(OrderRef::Id(id)) => Some(id.clone()),
            Some(OrderRef::Arrival) | None => None,
        };
        Self { event: Some(event.to_owned()), order_id, ..self }
    }
}

impl From<Fault> for Reading {
    fn from(fault: Fault) -> Self {
        Self::Unreadable { reason: fault.reason, detail: fault.detail, event: fault.event, order_id: fault.order_id }
    }
}

fn read_by(saga: &Saga, way: &Read, message: &Message<'_>) -> Result<Reading, Fault> {
    let reader = Reader::new(saga, way, message);
    let name = event_name(&reader)?;
    let Some(named) = saga.roles.get(&name) else { return Ok(Reading::Ignored { event: name }) };
    let order = order(&reader);
    let fault = |fault: Fault| fault.of(&name, order.as_ref().ok());
    let roles = roles(&reader, named).map_err(fault)?;
    if roles.is_empty() {
        return Ok(Reading::Ignored { event: name });
    }
    let parts = parts(&reader, &roles).map_err(fault)?;
    let order = order.map_err(|fault| fault.of(&name, None))?;
    let event = Box::new(event(&reader, name, roles, parts, order == OrderRef::Arrival));
    Ok(Reading::Event { order, event })
}

/// The name of the event, alone; for telling which of several ways to read a stored message was taken.
pub(super) fn event_name_by(saga: &Saga, way: &Read, message: &Message<'_>) -> Option<String> {
    event_name(&Reader::new(saga, way, message)).ok()
}

fn event_name(reader: &Reader<'_, '_>) -> Result<String, Fault> {
    let no_event = if reader.read.event.is_empty() {
        "the message does not say what type it is of"
    } else {
        "no selector for the event finds anything"
    };
    match reader.event() {
        Ok(Some(name)) => Ok(name),
        Ok(None) => Err(Fault::new(QuarantineReason::NoEvent, no_event)),
        Err(Unnamed::Unreadable(problem)) => Err(Fault::unreadable(problem)),
        Err(Unnamed::Bad(is)) => Err(Fault::new(QuarantineReason::BadEvent, format!("the event name is {is}"))),
    }
}

fn order(reader: &Reader<'_, '_>) -> Result<OrderRef, Fault> {
    if let Some(order_id) = reader.message.order_id {
        return Ok(OrderRef::Id(order_id.to_owned()));
    }
    let selectors = match &reader.read.order_id {
        OrderIdFrom::Arrival => return Ok(OrderRef::Arrival),
        OrderIdFrom::Message(selectors) => selectors,
    };
    let found = reader.order_id(selectors).map_err(Fault::unreadable)?;
    let found =
        found.ok_or_else(|| Fault::new(QuarantineReason::NoOrderId, "no selector for the order id finds anything"))?;
    let id = found.name().map_err(|is| Fault::new(QuarantineReason::BadOrderId, format!("the order id is {is}")))?;
    Ok(OrderRef::Id(id))
}

/// The roles whose condition holds, in definition order, each once.
fn roles(reader: &Reader<'_, '_>, named: &[PatternRole]) -> Result<Vec<Role>, Fault> {
    let mut roles = Vec::new();
    let mut scope = Scope::new();
    for PatternRole { role, condition } in named {
        if roles.contains(role) {
            continue;
        }
        if let Some(condition) = condition {
            for variable in condition.variables() {
                fill(&mut scope, variable, reader)?;
            }
            match condition.holds(&scope) {
                Ok(true) => {}
                Ok(false) => continue,
                Err(problem) => return Err(Fault::new(QuarantineReason::ConditionFailed, problem)),
            }
        }
        roles.push(*role);
    }
    Ok(roles)
}

/// Adds what a condition sees under the name `variable`, where it sees anything.
fn fill(scope: &mut Scope, variable: &str, reader: &Reader<'_, '_>) -> Result<(), Fault> {
    let delivery = reader.message.delivery;
    match variable {
        known if scope.contains_key(known) => {}
        "body" => {
            let body = reader.frame().and_then(super::frame::Frame::value).map_err(Fault::unreadable)?;
            scope.insert("body", body.clone());
        }
        "headers" => {
            reader.message.headers_readable().map_err(Fault::unreadable)?;
            let headers = delivery.envelope.headers.iter().map(|(name, value)| (name.clone(), value.clone()));
            scope.insert("headers", Value::Object(headers.collect()));
        }
        "routing_key" => {
            reader.message.readable(&Selector::RoutingKey).map_err(Fault::unreadable)?;
            scope.insert("routing_key", Value::from(delivery.routing_key.as_str()));
        }
        _ => {}
    }
    Ok(())
}

/// What tells the event apart in each counted step it closes.
fn parts(reader: &Reader<'_, '_>, roles: &[Role]) -> Result<BTreeMap<StepIx, String>, Fault> {
    let mut parts = BTreeMap::new();
    for role in roles {
        let Role::Done(ix) = *role else { continue };
        let Some(step) = reader.saga.steps.get(ix).filter(|step| !step.by.is_empty()) else { continue };
        let failed = |is: &str| {
            let detail = format!("what tells the events of step `{}` apart is {is}", step.name);
            Fault::new(QuarantineReason::ConditionFailed, detail)
        };
        let found = reader.first(&step.by).map_err(Fault::unreadable)?;
        let part = found.ok_or("missing").and_then(super::select::Found::name).map_err(failed)?;
        parts.insert(ix, part);
    }
    Ok(parts)
}

fn event(
    reader: &Reader<'_, '_>,
    name: String,
    roles: Vec<Role>,
    parts: BTreeMap<StepIx, String>,
    inferred: bool,
) -> Event {
    let message = reader.message;
    let delivery = message.delivery;
    let facts = match (reader.read.preset, reader.frame()) {
        (Some(_), Ok(frame)) => &frame.facts,
        (None, _) | (Some(_), Err(_)) => message.unasked_facts(),
    };
    let id = own_id(reader, facts.id.as_deref());
    let source = facts.source.as_deref().filter(|source| !source.is_empty());
    let payload = Arc::clone(message.payload());
    let identity =
        id.as_deref().map(|id| identity(&name, source.unwrap_or(&delivery.exchange), id, &payload.body_hash));
    let shown_id = id.map_or_else(|| hex(&message.content_hash()[..16]), |id| shown(&id));
    let attributes = reader.saga.attributes.iter().filter_map(|(attribute, selectors)| {
        Some((attribute.clone(), reader.first(selectors).ok().flatten()?.attribute()?))
    });
    Event {
        attributes: attributes.collect(),
        view: view(reader, payload.body.is_some()),
        name,
        roles,
        identity,
        message: MessageRef {
            id: shown_id,
            exchange: storable(&delivery.exchange),
            routing_key: storable(&delivery.routing_key),
            source: source.map(shown),
            timestamp: facts.time.or_else(|| timestamp(delivery.envelope.properties.get("timestamp")?)),
        },
        payload,
        parts,
        inferred,
        lag: message.lag,
    }
}

/// The id the message carries: by the definition's selectors, else its message id, else the preset's.
fn own_id(reader: &Reader<'_, '_>, of_preset: Option<&str>) -> Option<String> {
    let chosen = reader.first(&reader.read.id).ok().flatten().and_then(|found| found.text().ok());
    let chosen = chosen.map(std::borrow::Cow::into_owned).filter(|id| !id.is_empty());
    let given = || reader.message.delivery.envelope.property("message_id").filter(|id| !id.is_empty());
    chosen.or_else(|| given().or(of_preset).filter(|id| !id.is_empty()).map(str::to_owned))
}

/// What makes two messages of one order the same (rule 2). Each part goes with its length, so that no two lists give one hash.
fn identity(event: &str, origin: &str, id: &str, body_hash: &[u8; 32]) -> Identity {
    let mut hash = sha2::Sha256::new();
    for part in [event.as_bytes(), origin.as_bytes(), id.as_bytes(), body_hash.as_slice()] {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    let whole: [u8; 32] = hash.finalize().into();
    let mut identity = Identity::default();
    let length = identity.len();
    identity.copy_from_slice(&whole[..length]);
    identity
}

/// A text of the message, fit for the trail.
fn shown(text: &str) -> String {
    let end = (0..=SHOWN_ID_BYTES_MAX.min(text.len())).rev().find(|&end| text.is_char_boundary(end)).unwrap_or(0);
    storable(&text[..end])
}

/// The AMQP property: seconds since 1970.
fn timestamp(property: &Value) -> Option<Moment> {
    let seconds = property.as_i64().filter(|seconds| *seconds >= 0)?;
    let micros = if seconds <= LAST_SECOND { 1_000_000 } else { 1_000 };
    seconds.checked_mul(micros).filter(|at| *at <= LAST_SECOND * 1_000_000).map(Moment)
}

/// What expressions see of the event later. Not of one whose body is not kept: it would be there now and gone in the next
/// batch.
fn view(reader: &Reader<'_, '_>, is_kept: bool) -> Option<Arc<Value>> {
    if !is_kept || !reader.saga.reads_stored_events() {
        return None;
    }
    reader.frame().ok()?.view().cloned().map(Arc::new)
}

#[cfg(test)]
mod tests;
