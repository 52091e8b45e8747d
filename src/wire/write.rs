//! From a row of the outbox to the message that goes out.
//!
//! ```text
//!   telling       exchange `escrow`, a CloudEvent                                   nobody need listen
//!   compensation  what the definition says, as the machine rendered it              must be routed
//!   retry         the stored message again, byte for byte, with its own message id  must be routed
//! ```
//!
//! All are persistent and carry Escrow's mark ([`super::own`]). What AMQP could not carry is refused here, with the reason,
//! rather than killing the channel it is sent on.

use serde_json::{Map, Value};

use super::message::is_of_the_broker;
use super::own::{OWN, own_mark};
use crate::bus::{Envelope, Publication, Target};
use crate::saga::definition::RetryTo;
use crate::saga::input::Verdict;
use crate::saga::outgoing::{Content, EXCHANGE, Outgoing};
use crate::saga::time::Moment;
use crate::store::StoredPayload;

/// Header of a retry: the number of the attempt, from 1.
const RETRY: &str = "x-escrow-retry";

/// Longest text of an AMQP name: exchanges, routing keys, header names, and all properties that are text.
const SHORT_TEXT_BYTES_MAX: usize = 255;

/// AMQP's properties that are text, and those that are numbers with the largest each can hold.
const TEXT_PROPERTIES: [&str; 10] = [
    "content_type",
    "content_encoding",
    "correlation_id",
    "reply_to",
    "expiration",
    "message_id",
    "type",
    "user_id",
    "app_id",
    "cluster_id",
];
const NUMBER_PROPERTIES: [(&str, u64); 3] =
    [("delivery_mode", u8::MAX as u64), ("priority", u8::MAX as u64), ("timestamp", u64::MAX)];

/// What a re-sent message does not keep: the broker checks a user id against the connection, an expiry would count anew, and
/// copies would go where they were sent before.
const PROPERTIES_NOT_RESENT: [&str; 2] = ["user_id", "expiration"];
const HEADERS_NOT_RESENT: [&str; 2] = ["CC", "BCC"];

const CLOUD_EVENT: &str = "application/cloudevents+json";
const PERSISTENT: u64 = 2;

/// The message for one row of the outbox. `original` is the stored message a retry sends again, `now` goes out as the AMQP
/// timestamp of what Escrow says by itself.
///
/// # Errors
/// The verdict on the row when it cannot be sent: withheld when a retry's content is gone, refused when AMQP could not carry
/// it.
pub fn publication(outgoing: &Outgoing, original: Option<&StoredPayload>, now: Moment) -> Result<Publication, Verdict> {
    let mut publication = match &outgoing.content {
        Content::Telling { routing_key, body } => telling(outgoing, routing_key, body, now),
        Content::Compensation { exchange, routing_key, headers, properties, body } => {
            let target = Target::Exchange { exchange: exchange.clone(), routing_key: routing_key.clone() };
            compensation(outgoing, target, headers, properties, body, now)?
        }
        Content::Retry { of: _, to, attempt } => retry(outgoing, to, *attempt, original)?,
    };
    let mark = own_mark(&publication.key, &publication.body);
    publication.envelope.headers.insert(OWN.to_owned(), Value::from(mark));
    check(&publication).map_err(Verdict::Refused)?;
    Ok(publication)
}

fn telling(outgoing: &Outgoing, routing_key: &str, body: &Value, now: Moment) -> Publication {
    Publication {
        key: outgoing.key.to_string(),
        target: Target::Exchange { exchange: EXCHANGE.to_owned(), routing_key: routing_key.to_owned() },
        envelope: Envelope { headers: [].into(), properties: properties(outgoing, body, now) },
        body: body.to_string().into_bytes(),
        mandatory: false,
    }
}

fn compensation(
    outgoing: &Outgoing,
    target: Target,
    headers: &Map<String, Value>,
    given: &Map<String, Value>,
    body: &Value,
    now: Moment,
) -> Result<Publication, Verdict> {
    let mut properties = properties(outgoing, body, now);
    for (name, value) in given {
        let value = property(name, value).map_err(Verdict::Refused)?;
        // The message id is the same on every re-send, and the request must outlive the broker: neither is open to choice.
        if name != "message_id" && name != "delivery_mode" {
            properties.insert(name.clone(), value);
        }
    }
    Ok(Publication {
        key: outgoing.key.to_string(),
        target,
        envelope: Envelope {
            headers: headers.clone().into_iter().collect(),
            properties: properties.into_iter().collect(),
        },
        body: match body {
            // A text is the body itself: a definition may write any format that way.
            Value::String(text) => text.clone().into_bytes(),
            json => json.to_string().into_bytes(),
        },
        mandatory: true,
    })
}

fn retry(
    outgoing: &Outgoing,
    to: &RetryTo,
    attempt: u32,
    original: Option<&StoredPayload>,
) -> Result<Publication, Verdict> {
    let withheld = |why: &str| Verdict::Withheld(why.to_owned());
    let original = original.ok_or_else(|| withheld("the message to send again is not stored any more"))?;
    let body = original.body.clone();
    let body = body.ok_or_else(|| withheld("the message to send again was erased, or was too large to keep"))?;
    let mut envelope: Envelope = serde_json::from_value(original.envelope.clone())
        .map_err(|_| withheld("the headers of the message to send again cannot be read"))?;
    let is_sent = |part: &&str| !matches!((to, *part), (RetryTo::Queue(_), "exchange" | "routing_key"));
    if let Some(part) = envelope.unreadable().find(is_sent) {
        return Err(withheld(&format!("the message cannot be sent again as it was: its {part} is no text")));
    }
    envelope.headers.retain(|name, _| !is_of_the_broker(name) && !HEADERS_NOT_RESENT.contains(&name.as_str()));
    envelope.headers.insert(RETRY.to_owned(), Value::from(attempt));
    envelope.properties.retain(|name, _| !PROPERTIES_NOT_RESENT.contains(&name.as_str()));
    envelope.properties.insert("delivery_mode".to_owned(), Value::from(PERSISTENT));
    if crate::faults::is_planted(crate::faults::Bug::RetryRenamed) {
        envelope.properties.remove("message_id");
    }
    for (name, value) in [("message_id", outgoing.message_id.as_str()), ("app_id", "escrow")] {
        envelope.properties.entry(name.to_owned()).or_insert_with(|| Value::from(value));
    }
    let is_http = original.exchange.is_empty() && original.routing_key.is_empty();
    let target = match to {
        RetryTo::Queue(queue) => Target::Queue(queue.clone()),
        RetryTo::Exchange { exchange, routing_key } => Target::Exchange {
            exchange: exchange.clone(),
            routing_key: routing_key.clone().unwrap_or_else(|| original.routing_key.clone()),
        },
        RetryTo::Original if is_http => {
            return Err(withheld("the message to send again came over HTTP, and no exchange is named"));
        }
        RetryTo::Original => {
            Target::Exchange { exchange: original.exchange.clone(), routing_key: original.routing_key.clone() }
        }
    };
    Ok(Publication { key: outgoing.key.to_string(), target, envelope, body, mandatory: true })
}

/// The properties of what Escrow says by itself.
fn properties(outgoing: &Outgoing, body: &Value, now: Moment) -> std::collections::BTreeMap<String, Value> {
    let event_type = body.get("type").and_then(Value::as_str).filter(|_| body.get("specversion").is_some());
    let content_type = match (event_type, body) {
        (Some(_), _) => CLOUD_EVENT,
        (None, Value::String(_)) => "text/plain",
        (None, _) => "application/json",
    };
    let mut properties = std::collections::BTreeMap::from([
        ("message_id".to_owned(), Value::from(outgoing.message_id.as_str())),
        ("app_id".to_owned(), Value::from("escrow")),
        ("delivery_mode".to_owned(), Value::from(PERSISTENT)),
        ("content_type".to_owned(), Value::from(content_type)),
        ("content_encoding".to_owned(), Value::from("utf-8")),
        ("timestamp".to_owned(), Value::from(now.0.max(0) / 1_000_000)),
    ]);
    let order_id = outgoing.order.order_id.as_str();
    let texts = [("type", event_type), ("correlation_id", Some(order_id))];
    for (name, text) in texts.into_iter().filter_map(|(name, text)| Some((name, text?))) {
        // One byte may be missing for the longest order id; these two say nothing the body does not.
        if text.len() <= SHORT_TEXT_BYTES_MAX {
            properties.insert(name.to_owned(), Value::from(text));
        }
    }
    properties
}

/// A property in the type AMQP gives it: a template may render a number as text, or the other way round.
fn property(name: &str, value: &Value) -> Result<Value, String> {
    if TEXT_PROPERTIES.contains(&name) {
        return match value {
            Value::String(_) => Ok(value.clone()),
            Value::Number(number) => Ok(Value::from(number.to_string())),
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => {
                Err(format!("the property {name} must be text"))
            }
        };
    }
    let Some((_, most)) = NUMBER_PROPERTIES.iter().find(|(known, _)| *known == name) else {
        return Err(format!("AMQP has no property {}", cut(name)));
    };
    let number = value.as_u64().or_else(|| value.as_str()?.parse().ok());
    let number = number.filter(|number| number <= most);
    number.map(Value::from).ok_or_else(|| format!("the property {name} must be a whole number from 0 to {most}"))
}

/// Whether AMQP can carry it.
fn check(publication: &Publication) -> Result<(), String> {
    let short = |what: &str, text: &str| {
        if text.len() <= SHORT_TEXT_BYTES_MAX {
            return Ok(());
        }
        Err(format!("{what} `{}` is longer than {SHORT_TEXT_BYTES_MAX} bytes", cut(text)))
    };
    match &publication.target {
        Target::Queue(queue) => short("the queue name", queue)?,
        Target::Exchange { exchange, routing_key } => {
            short("the exchange name", exchange)?;
            short("the routing key", routing_key)?;
        }
    }
    for (name, value) in &publication.envelope.headers {
        check_names(name, value, &short)?;
    }
    let mut texts = publication.envelope.properties.iter().filter_map(|(name, value)| Some((name, value.as_str()?)));
    texts.try_for_each(|(name, text)| short(&format!("the property {name}"), text))
}

/// Names in tables are short texts too, however deep.
fn check_names(name: &str, value: &Value, short: &impl Fn(&str, &str) -> Result<(), String>) -> Result<(), String> {
    short("the header name", name)?;
    match value {
        Value::Object(members) => members.iter().try_for_each(|(name, member)| check_names(name, member, short)),
        Value::Array(items) => items.iter().try_for_each(|item| check_names("", item, short)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Ok(()),
    }
}

/// The beginning of a long text, for a message to a person.
fn cut(text: &str) -> String {
    const SHOWN: usize = 40;
    if text.chars().count() <= SHOWN { text.to_owned() } else { text.chars().take(SHOWN).chain(['…']).collect() }
}

#[cfg(test)]
mod tests;
