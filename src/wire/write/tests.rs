use serde_json::json;
use uuid::Uuid;

use super::*;
use crate::saga::order::OrderKey;
use crate::wire::fixture::{SALT, delivery};
use crate::wire::is_own;

const NOW: Moment = Moment(1_700_000_000_500_000);

fn outgoing(content: Content) -> Outgoing {
    Outgoing {
        key: Uuid::from_u128(1),
        order: OrderKey { saga: "order".to_owned(), order_id: "4711".to_owned() },
        sequence: 3,
        place: 0,
        message_id: "m-1".to_owned(),
        content,
    }
}

fn map(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(members) => members,
        other => panic!("no object: {other}"),
    }
}

fn compensation(headers: Value, properties: Value, body: Value) -> Outgoing {
    outgoing(Content::Compensation {
        exchange: "inventory".to_owned(),
        routing_key: "release".to_owned(),
        headers: map(headers),
        properties: map(properties),
        body,
    })
}

fn retry(to: RetryTo) -> Outgoing {
    outgoing(Content::Retry { of: 1, to, attempt: 2 })
}

fn original() -> StoredPayload {
    StoredPayload {
        salt: SALT,
        body: Some(b"{\"a\" : 1.50}".to_vec()),
        body_hash: [0; 32],
        envelope: json!({
            "headers": {
                "tenant": "eu", "CC": ["a"], "BCC": ["b"], "x-death": [{"count": 1}], "x-first-death-queue": "q",
                "x-last-death-reason": "expired", "x-delivery-count": 3, "x-escrow-own": "copied.from-a-request"
            },
            "properties": {
                "message_id": "theirs", "user_id": "shop", "expiration": "500", "content_type": "application/json",
                "delivery_mode": 1, "app_id": "shop", "timestamp": 17
            }
        }),
        exchange: "orders".to_owned(),
        routing_key: "order.placed".to_owned(),
        message_id: "theirs".to_owned(),
    }
}

fn own(publication: &Publication) -> bool {
    let mut seen = delivery("x", "").with_body(publication.body.clone());
    seen.envelope = publication.envelope.clone();
    is_own(&seen)
}

fn as_json(envelope: &Envelope) -> Value {
    let mut value = serde_json::to_value(envelope).unwrap();
    if let Some(headers) = value.get_mut("headers").and_then(Value::as_object_mut) {
        headers.remove(OWN);
    }
    value
}

#[test]
fn a_telling_is_a_cloudevent_on_escrows_own_exchange() {
    let body = crate::saga::cloudevent::body("order", "m-1", "escrow.order.stuck", "4711", NOW, &json!({"done": 2}));
    let row = outgoing(Content::Telling { routing_key: "order.stuck".to_owned(), body: body.clone() });
    let told = publication(&row, None, NOW).unwrap();
    assert_eq!(told.target, Target::Exchange { exchange: "escrow".to_owned(), routing_key: "order.stuck".to_owned() });
    assert_eq!((told.mandatory, told.key.as_str()), (false, "00000000-0000-0000-0000-000000000001"));
    assert_eq!(serde_json::from_slice::<Value>(&told.body).unwrap(), body);
    assert_eq!(
        as_json(&told.envelope),
        json!({
            "headers": {},
            "properties": {
                "app_id": "escrow", "content_encoding": "utf-8", "content_type": "application/cloudevents+json",
                "correlation_id": "4711", "delivery_mode": 2, "message_id": "m-1", "timestamp": 1_700_000_000,
                "type": "escrow.order.stuck"
            }
        })
    );
    assert!(own(&told));
}

#[test]
fn a_compensation_is_what_the_definition_says() {
    let body = json!({"event_type": "ReleaseInventory", "data": {"order_id": "4711"}});
    let row = compensation(
        json!({"x-kind": "release"}),
        json!({"type": "Release", "priority": "7", "correlation_id": 12, "message_id": "no", "delivery_mode": 1}),
        body.clone(),
    );
    let asked = publication(&row, None, NOW).unwrap();
    assert_eq!(asked.target, Target::Exchange { exchange: "inventory".to_owned(), routing_key: "release".to_owned() });
    assert!(asked.mandatory && own(&asked));
    assert_eq!(asked.body, body.to_string().into_bytes());
    assert_eq!(
        as_json(&asked.envelope),
        json!({
            "headers": {"x-kind": "release"},
            "properties": {
                "app_id": "escrow", "content_encoding": "utf-8", "content_type": "application/json", "correlation_id": "12",
                "delivery_mode": 2, "message_id": "m-1", "priority": 7, "timestamp": 1_700_000_000, "type": "Release"
            }
        })
    );
}

#[test]
fn the_content_type_follows_the_body() {
    let content_type = |body: Value, properties: Value| {
        let sent = publication(&compensation(json!({}), properties, body), None, NOW).unwrap();
        (sent.envelope.property("content_type").unwrap().to_owned(), String::from_utf8(sent.body).unwrap())
    };
    let event = json!({"specversion": "1.0", "type": "Refund"});
    assert_eq!(content_type(event.clone(), json!({})).0, "application/cloudevents+json");
    assert_eq!(content_type(json!([1]), json!({})), ("application/json".to_owned(), "[1]".to_owned()));
    assert_eq!(content_type(json!("<r/>"), json!({})), ("text/plain".to_owned(), "<r/>".to_owned()));
    assert_eq!(content_type(json!("<r/>"), json!({"content_type": "text/xml"})).0, "text/xml");
}

#[test]
fn a_retry_is_the_stored_message_without_what_must_not_be_sent_again() {
    let sent = publication(&retry(RetryTo::Queue("inventory".to_owned())), Some(&original()), NOW).unwrap();
    assert_eq!(sent.target, Target::Queue("inventory".to_owned()));
    assert!(sent.mandatory && own(&sent));
    assert_eq!(sent.body, original().body.unwrap());
    assert_eq!(
        as_json(&sent.envelope),
        json!({
            "headers": {"tenant": "eu", "x-escrow-retry": 2},
            "properties": {
                "message_id": "theirs", "content_type": "application/json", "delivery_mode": 2, "app_id": "shop",
                "timestamp": 17
            }
        })
    );
}

#[test]
fn a_retry_goes_where_the_definition_says() {
    let target = |to: RetryTo| publication(&retry(to), Some(&original()), NOW).unwrap().target;
    let exchange =
        |exchange: &str, key: &str| Target::Exchange { exchange: exchange.to_owned(), routing_key: key.to_owned() };
    assert_eq!(target(RetryTo::Original), exchange("orders", "order.placed"));
    let to = |key: Option<&str>| RetryTo::Exchange { exchange: "x".to_owned(), routing_key: key.map(str::to_owned) };
    assert_eq!(target(to(Some("k"))), exchange("x", "k"));
    assert_eq!(target(to(None)), exchange("x", "order.placed"));
}

#[test]
fn a_retry_without_its_message_is_withheld() {
    let withheld = |to: RetryTo, original: Option<&StoredPayload>| {
        matches!(publication(&retry(to), original, NOW), Err(Verdict::Withheld(_)))
    };
    assert!(withheld(RetryTo::Original, None));
    assert!(withheld(RetryTo::Original, Some(&StoredPayload { body: None, ..original() })));
    assert!(withheld(RetryTo::Original, Some(&StoredPayload { envelope: json!("lost"), ..original() })));
    let over_http = StoredPayload { exchange: String::new(), routing_key: String::new(), ..original() };
    assert!(withheld(RetryTo::Original, Some(&over_http)));
    let unreadable = |part: &str| {
        let envelope = json!({"properties": {(crate::bus::UNREADABLE): {"parts": [part]}}});
        StoredPayload { envelope, ..original() }
    };
    let queue = || RetryTo::Queue("q".to_owned());
    assert!(withheld(queue(), Some(&unreadable("property:message_id"))), "it could not go out with the same id");
    assert!(withheld(queue(), Some(&unreadable("headers"))));
    assert!(!withheld(queue(), Some(&unreadable("routing_key"))), "it is not sent with that");
    assert!(withheld(RetryTo::Original, Some(&unreadable("routing_key"))));
    assert!(!withheld(RetryTo::Queue("q".to_owned()), Some(&over_http)));
}

#[test]
fn a_message_that_had_no_id_gets_the_rows() {
    let bare = StoredPayload { envelope: json!({}), ..original() };
    let sent = publication(&retry(RetryTo::Original), Some(&bare), NOW).unwrap();
    assert_eq!(sent.envelope.property("message_id"), Some("m-1"));
    assert_eq!(sent.envelope.property("app_id"), Some("escrow"));
}

#[test]
fn what_amqp_cannot_carry_is_refused() {
    let long = "x".repeat(256);
    let refused = |row: &Outgoing| match publication(row, None, NOW) {
        Err(Verdict::Refused(why)) => why,
        other => panic!("not refused: {other:?}"),
    };
    let with = |headers: Value, properties: Value| refused(&compensation(headers, properties, json!({})));
    assert!(with(json!({long.clone(): 1}), json!({})).starts_with("the header name"));
    assert!(with(json!({"a": [{long.clone(): 1}]}), json!({})).starts_with("the header name"));
    assert!(with(json!({}), json!({"type": long})).starts_with("the property type"));
    assert!(with(json!({}), json!({"typ": "x"})).contains("no property typ"));
    assert!(with(json!({}), json!({"priority": 256})).contains("0 to 255"));
    assert!(with(json!({}), json!({"reply_to": true})).contains("must be text"));
    let told = outgoing(Content::Telling { routing_key: "k".repeat(256), body: json!({}) });
    assert!(refused(&told).starts_with("the routing key"));
    let fits = compensation(json!({"x".repeat(255): 1}), json!({}), json!({}));
    assert!(publication(&fits, None, NOW).is_ok());
}

#[test]
fn an_order_id_of_the_greatest_length_can_still_be_told_of() {
    let mut row = outgoing(Content::Telling { routing_key: "k".to_owned(), body: json!({}) });
    row.order.order_id = "x".repeat(256);
    assert_eq!(publication(&row, None, NOW).unwrap().envelope.property("correlation_id"), None);
}

#[test]
fn a_message_of_a_fanout_exchange_goes_back_to_it_and_one_over_http_has_nowhere_to_go() {
    let sent = |exchange: &str, routing_key: &str| {
        let (exchange, routing_key) = (exchange.to_owned(), routing_key.to_owned());
        let stored = StoredPayload { exchange, routing_key, ..original() };
        publication(&retry(RetryTo::Original), Some(&stored), NOW).map(|sent| sent.target)
    };
    let target = |exchange: &str, routing_key: &str| {
        Ok(Target::Exchange { exchange: exchange.to_owned(), routing_key: routing_key.to_owned() })
    };
    assert_eq!(sent("shop", ""), target("shop", ""));
    assert_eq!(sent("", "queue"), target("", "queue"));
    assert_eq!(sent("shop", "placed"), target("shop", "placed"));
    assert!(matches!(sent("", ""), Err(Verdict::Withheld(why)) if why.contains("over HTTP")));
}

#[test]
fn only_a_text_that_was_cut_ends_in_dots() {
    assert_eq!((cut(&"x".repeat(40)), cut(&"x".repeat(41))), ("x".repeat(40), "x".repeat(40) + "…"));
}
