//! CloudEvents 1.0, structured (one JSON document) and binary (attributes in headers).
//!
//! There is no official binding for AMQP 0-9-1. What is in use is that of AMQP 1.0 and of its neighbours, so attributes
//! are known by any of the prefixes `cloudEvents:`, `cloudEvents_`, `ce-` and `ce_`. What came over HTTP comes in the same
//! form: whoever took it has decoded it.

use std::borrow::Cow;

use base64::Engine as _;
use serde_json::{Map, Value};

use super::text;
use crate::saga::time::Moment;
use crate::wire::frame::{Facts, Frame, Parts, Rest, of_body};
use crate::wire::pointer;
use crate::wire::select::Found;

const STRUCTURED: &str = "application/cloudevents+json";
const BATCH: &str = "application/cloudevents-batch";
const OTHER_FORMATS: &str = "application/cloudevents";

const PREFIXES: [&str; 4] = ["cloudevents:", "cloudevents_", "ce-", "ce_"];

/// Takes an event apart.
///
/// A message that says nothing of its mode is taken for a structured event: many publish those as plain JSON.
pub(in crate::wire) fn frame(parts: Parts<'_>) -> Result<Frame<'_>, String> {
    let content_type = content_type(parts);
    if content_type.starts_with(BATCH) {
        return Err("the message is a batch of CloudEvents; only single ones can be read".to_owned());
    }
    if !is_structured(&content_type) {
        if content_type.starts_with(OTHER_FORMATS) {
            return Err(format!("the content type {content_type} is no JSON format of CloudEvents"));
        }
        let attributes = attributes(parts);
        if attributes.contains_key("type") || attributes.contains_key("specversion") {
            return Ok(binary(attributes, parts.body));
        }
    }
    structured(parts.body)
}

/// Id, source and time of a message that declares itself a CloudEvent; nothing of any other.
pub(in crate::wire) fn facts_if_declared(parts: Parts<'_>) -> Facts {
    if is_structured(&content_type(parts)) {
        return structured(parts.body).map(|frame| frame.facts).unwrap_or_default();
    }
    let attributes = attributes(parts);
    if attributes.contains_key("specversion") { facts(&attributes) } else { Facts::default() }
}

fn structured(body: &[u8]) -> Result<Frame<'_>, String> {
    const PLACES: [&str; 6] = ["/type", "/id", "/source", "/time", "/data", "/data_base64"];
    let body = pointer::text(body).map_err(of_body)?;
    let found = pointer::find(body, &PLACES).map_err(of_body)?;
    let place = |ix: usize| found.get(ix).copied().flatten().and_then(Found::written);
    let payload = match (place(4), place(5)) {
        (Some(Found::Written(data)), _) => Some(Cow::Borrowed(data.get().as_bytes())),
        (_, Some(encoded)) => {
            let encoded = encoded.text().map_err(|is| format!("data_base64 is {is}"))?;
            let data = base64::engine::general_purpose::STANDARD.decode(encoded.as_bytes());
            Some(Cow::Owned(data.map_err(|error| format!("data_base64 cannot be decoded: {error}"))?))
        }
        (_, None) => None,
    };
    let facts = Facts {
        id: text(place(1)),
        source: text(place(2)),
        time: text(place(3)).and_then(|time| Moment::parse(&time)),
    };
    Ok(Frame::new(text(place(0)).into_iter().collect(), facts, payload, Rest::Text(body)))
}

fn binary(attributes: Map<String, Value>, body: &[u8]) -> Frame<'_> {
    let types = text(attributes.get("type").and_then(Found::given)).into_iter().collect();
    let facts = facts(&attributes);
    let payload = (!body.is_empty()).then_some(Cow::Borrowed(body));
    Frame::new(types, facts, payload, Rest::Table(Value::Object(attributes)))
}

fn facts(attributes: &Map<String, Value>) -> Facts {
    let attribute = |name: &str| text(attributes.get(name).and_then(Found::given));
    Facts {
        id: attribute("id"),
        source: attribute("source"),
        time: attribute("time").and_then(|time| Moment::parse(&time)),
    }
}

/// The attributes among the headers, by their lower-case name.
fn attributes(parts: Parts<'_>) -> Map<String, Value> {
    let attribute = |header: &str| {
        let header = header.to_ascii_lowercase();
        PREFIXES.iter().find_map(|prefix| header.strip_prefix(prefix)).map(str::to_owned)
    };
    parts.envelope.headers.iter().filter_map(|(header, value)| Some((attribute(header)?, value.clone()))).collect()
}

fn content_type(parts: Parts<'_>) -> String {
    parts.envelope.property("content_type").unwrap_or_default().trim().to_ascii_lowercase()
}

fn is_structured(content_type: &str) -> bool {
    content_type.split(';').next().is_some_and(|kind| kind.trim() == STRUCTURED)
}
