//! Events over HTTP: CloudEvents 1.0 in all three forms, answered only when their effect is committed.
//!
//! ```text
//!   structured  application/cloudevents+json         one event as JSON
//!   binary      any content type, ce-* headers       attributes in headers, the body is the data
//!   batch       application/cloudevents-batch+json   an array of structured ones: all are taken, or none
//! ```
//!
//! Each becomes a [`Delivery`] with no exchange, in the form of the CloudEvents AMQP binding, so one reader serves bus and
//! HTTP. Plain JSON is taken where a definition says by `- http: { read: … }` how to read it.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::problem::{Fault, Kind, Problem, ProblemBody};
use super::query::{body, media_type};
use super::state::ApiState;
use crate::bus::{Delivery, Envelope};
use crate::saga::catalog::Catalog;
use crate::saga::definition::{Place, Preset};

/// Largest body of one call.
pub const EVENTS_BYTES_MAX: usize = 16 << 20;

/// Most events of one call: they are one transaction.
const BATCH_EVENTS_MAX: usize = 5_000;

/// Faults named in one answer; who sends more than these wrong does not read the rest.
const FAULTS_MAX: usize = 20;

const STRUCTURED: &str = "application/cloudevents+json";
const BATCH: &str = "application/cloudevents-batch+json";

/// What an event must say.
const REQUIRED: [&str; 4] = ["specversion", "id", "source", "type"];

/// What became of the events.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct EventsAnswer {
    /// How many were taken; their effect is committed.
    pub accepted: usize,
}

/// Takes events. They are committed when this answers 202; on any other answer none was taken, and sending the same ones
/// again is safe.
#[utoipa::path(post, path = "/v1/events", tag = "events",
    request_body(content = Object, content_type = "application/cloudevents+json",
        description = "A CloudEvent; a batch as `application/cloudevents-batch+json`; or any body with `ce-` headers"),
    responses(
        (status = 202, description = "Taken and committed", body = EventsAnswer),
        (status = 400, description = "An event is not right; nothing was taken", body = ProblemBody,
            content_type = "application/problem+json"),
        (status = 413, description = "Too much at once", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "Try again", body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub async fn take_events(state: ApiState, request: Request) -> Result<(StatusCode, Json<EventsAnswer>), Problem> {
    let media_type = media_type(&request);
    let headers = request.headers().clone();
    let bytes = body(request, &state).await?;
    let deliveries = deliveries(&state.desk.catalog(), &media_type, &headers, &bytes)?;
    let accepted = deliveries.len();
    if accepted > 0 {
        state.desk.submit(deliveries).await?;
    }
    Ok((StatusCode::ACCEPTED, Json(EventsAnswer { accepted })))
}

fn deliveries(
    catalog: &Catalog,
    media_type: &str,
    headers: &HeaderMap,
    bytes: &[u8],
) -> Result<Vec<Delivery>, Problem> {
    if media_type == BATCH {
        return batch(bytes);
    }
    if media_type == STRUCTURED {
        return structured(&json(bytes)?, "", bytes.to_vec()).map(|it| vec![it]).map_err(refused);
    }
    if headers.contains_key("ce-specversion") || headers.contains_key("ce-type") {
        return binary(headers, bytes).map(|it| vec![it]).map_err(refused);
    }
    if media_type != "application/json" {
        let wanted = format!("send a CloudEvent: `{STRUCTURED}`, `{BATCH}`, or any body with `ce-` headers");
        return Err(Problem::new(Kind::UnsupportedMediaType, wanted));
    }
    let value = json(bytes)?;
    if value.get("specversion").is_some() {
        return structured(&value, "", bytes.to_vec()).map(|it| vec![it]).map_err(refused);
    }
    if reads_plain_json(catalog) {
        return Ok(vec![delivery(BTreeMap::new(), "application/json", None, bytes.to_vec())]);
    }
    Err(Problem::body(
        "",
        "this is no CloudEvent (no `specversion`), and no definition says how to read plain JSON over HTTP",
    ))
}

fn batch(bytes: &[u8]) -> Result<Vec<Delivery>, Problem> {
    let Value::Array(events) = json(bytes)? else {
        return Err(Problem::body("", "a batch is a JSON array of CloudEvents"));
    };
    if events.len() > BATCH_EVENTS_MAX {
        return Err(Problem::new(Kind::TooLarge, format!("a batch holds at most {BATCH_EVENTS_MAX} events")));
    }
    let mut faults = Vec::new();
    let mut deliveries = Vec::with_capacity(events.len());
    for (at, event) in events.iter().enumerate() {
        match structured(event, &format!("/{at}"), event.to_string().into_bytes()) {
            Ok(delivery) => deliveries.push(delivery),
            Err(more) => faults.extend(more),
        }
    }
    if faults.is_empty() { Ok(deliveries) } else { Err(refused(faults)) }
}

/// A structured event: `body` is what is kept, `at` points to the event for whoever sent it.
fn structured(event: &Value, at: &str, body: Vec<u8>) -> Result<Delivery, Vec<Fault>> {
    let fault = |field: &str, detail: String| Fault { pointer: format!("{at}{field}"), detail };
    let Value::Object(event) = event else {
        return Err(vec![fault("", "a CloudEvent is a JSON object".to_owned())]);
    };
    let faults = missing(|name| text(event, name), |name, detail| fault(&format!("/{name}"), detail));
    if !faults.is_empty() {
        return Err(faults);
    }
    Ok(delivery(BTreeMap::new(), STRUCTURED, text(event, "id"), body))
}

fn text<'a>(event: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    event.get(name)?.as_str()
}

/// A binary event: `ce-NAME` headers become `cloudEvents:NAME`, as in the AMQP binding.
fn binary(headers: &HeaderMap, bytes: &[u8]) -> Result<Delivery, Vec<Fault>> {
    let mut attributes = BTreeMap::new();
    for (name, value) in headers {
        if let Some(name) = name.as_str().strip_prefix("ce-") {
            let decoded = percent_encoding::percent_decode(value.as_bytes()).decode_utf8();
            let Ok(decoded) = decoded else {
                let detail = "the value is not UTF-8 once percent-decoded".to_owned();
                return Err(vec![Fault { pointer: format!("ce-{name}"), detail }]);
            };
            attributes.insert(name.to_owned(), decoded.into_owned());
        }
    }
    let given = |name: &str| attributes.get(name).map(String::as_str);
    let faults = missing(given, |name, detail| Fault { pointer: format!("ce-{name}"), detail });
    if !faults.is_empty() {
        return Err(faults);
    }
    let id = given("id").map(str::to_owned);
    let headers_kept =
        attributes.into_iter().map(|(name, value)| (format!("cloudEvents:{name}"), Value::String(value))).collect();
    let content_type = headers.get("content-type").and_then(|it| it.to_str().ok()).unwrap_or("application/json");
    Ok(delivery(headers_kept, content_type, id.as_deref(), bytes.to_vec()))
}

/// What is missing or wrong of what every event must say.
fn missing<'a>(given: impl Fn(&str) -> Option<&'a str>, fault: impl Fn(&str, String) -> Fault) -> Vec<Fault> {
    let mut faults: Vec<Fault> = REQUIRED
        .iter()
        .filter(|name| given(name).is_none_or(str::is_empty))
        .map(|name| fault(name, format!("`{name}` is missing, empty or no text")))
        .collect();
    if let Some(version) = given("specversion").filter(|it| !it.is_empty() && *it != "1.0") {
        let said: String = version.chars().take(20).collect();
        faults.push(fault("specversion", format!("`{said}` is no version of CloudEvents Escrow reads; it reads 1.0")));
    }
    faults
}

fn delivery(headers: BTreeMap<String, Value>, content_type: &str, id: Option<&str>, body: Vec<u8>) -> Delivery {
    let mut properties = BTreeMap::from([("content_type".to_owned(), Value::String(content_type.to_owned()))]);
    if let Some(id) = id {
        properties.insert("message_id".to_owned(), Value::String(id.to_owned()));
    }
    Delivery {
        exchange: String::new(),
        routing_key: String::new(),
        envelope: Envelope { headers, properties },
        body,
        redelivered: false,
    }
}

/// Whether some definition reads events over HTTP that are no CloudEvents.
fn reads_plain_json(catalog: &Catalog) -> bool {
    let mut watches = catalog.all().flat_map(|saga| &saga.watch);
    watches.any(|watch| watch.place == Place::Http && watch.read.preset != Some(Preset::CloudEvents))
}

fn json(bytes: &[u8]) -> Result<Value, Problem> {
    serde_json::from_slice(bytes).map_err(|error| Problem::body("", format!("the body is not JSON: {error}")))
}

fn refused(mut faults: Vec<Fault>) -> Problem {
    let detail = match faults.as_slice() {
        [one] if one.pointer.is_empty() => one.detail.clone(),
        [one] => format!("{}: {}", one.pointer, one.detail),
        [first, ..] => format!("{}: {}, and {} more faults", first.pointer, first.detail, faults.len() - 1),
        [] => "the event is not right".to_owned(),
    };
    faults.truncate(FAULTS_MAX);
    Problem { kind: Kind::BadBody, detail, errors: faults }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;
    use serde_json::json;

    use super::*;

    fn event() -> Value {
        json!({"specversion": "1.0", "id": "1", "source": "/shop", "type": "OrderPlaced", "subject": "a/b"})
    }

    fn read(media_type: &str, headers: &HeaderMap, bytes: &[u8]) -> Result<Vec<Delivery>, Problem> {
        deliveries(&Catalog::default(), media_type, headers, bytes)
    }

    #[test]
    fn a_structured_event_keeps_its_very_bytes() {
        let bytes = b"{ \"specversion\":\"1.0\",\"id\":\"1\",\"source\":\"s\",\"type\":\"T\" }";
        for media_type in [STRUCTURED, "application/json"] {
            let taken = read(media_type, &HeaderMap::new(), bytes).unwrap();
            assert_eq!(taken[0].body, bytes);
            assert_eq!(taken[0].envelope.property("content_type"), Some(STRUCTURED));
            assert_eq!(taken[0].envelope.property("message_id"), Some("1"));
        }
    }

    #[test]
    fn binary_attributes_become_headers_and_are_percent_decoded() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("ce-specversion", "1.0"),
            ("ce-id", "7"),
            ("ce-source", "/shop"),
            ("ce-type", "Order%20Placed"),
            ("ce-subject", "J%C3%B6rg"),
            ("content-type", "text/plain"),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        let taken = read("text/plain", &headers, b"hello").unwrap();
        assert_eq!(taken[0].envelope.header("cloudEvents:type"), Some("Order Placed"));
        assert_eq!(taken[0].envelope.header("cloudEvents:subject"), Some("Jörg"));
        assert_eq!(taken[0].envelope.property("content_type"), Some("text/plain"));
        assert_eq!(taken[0].body, b"hello");
        headers.remove("ce-id");
        assert_eq!(read("text/plain", &headers, b"hello").unwrap_err().errors[0].pointer, "ce-id");
    }

    #[test]
    fn a_batch_is_taken_whole_or_not_at_all_and_the_wrong_one_is_named() {
        let good = json!([event(), event()]).to_string();
        assert_eq!(read(BATCH, &HeaderMap::new(), good.as_bytes()).unwrap().len(), 2);
        let mut wrong = event();
        wrong["type"] = json!("");
        let bad = json!([event(), wrong, 7]).to_string();
        let problem = read(BATCH, &HeaderMap::new(), bad.as_bytes()).unwrap_err();
        let pointers: Vec<&str> = problem.errors.iter().map(|it| it.pointer.as_str()).collect();
        assert_eq!(pointers, ["/1/type", "/2"]);
    }

    #[test]
    fn what_is_no_cloud_event_is_refused_with_what_is_wanted() {
        assert!(read("application/json", &HeaderMap::new(), b"{}").unwrap_err().detail.contains("no CloudEvent"));
        assert_eq!(read("text/plain", &HeaderMap::new(), b"").unwrap_err().kind, Kind::UnsupportedMediaType);
        assert!(read(STRUCTURED, &HeaderMap::new(), b"{").unwrap_err().detail.contains("not JSON"));
        let mut old = event();
        old["specversion"] = json!("0.3");
        assert!(read(STRUCTURED, &HeaderMap::new(), old.to_string().as_bytes()).unwrap_err().detail.contains("1.0"));
    }
}
