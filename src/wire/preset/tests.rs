//! One message of each kind, as its library publishes it, and what is read of it.

use serde_json::{Value, json};

use crate::bus::Delivery;
use crate::saga::definition::{OrderIdFrom, Place, Preset, Saga};
use crate::saga::expression::Expression;
use crate::saga::input::Event;
use crate::saga::time::Moment;
use crate::wire::fixture::{by, delivery, event, exchange, outcome, saga, selectors};
use crate::wire::{payload_view, stored_event};

/// A saga that takes `OrderPlaced` under a condition on the payload and looks at it again later.
fn under(preset: Preset, order_id: &[&str]) -> Saga {
    let mut saga = saga(
        vec![(exchange("shop", None), by(&[], order_id, Some(preset)))],
        &[("OrderPlaced", "body.order.total > 10")],
    );
    saga.steps[0].count = Some(Expression::compile("size(steps.step_0.event.order.lines)").unwrap());
    saga
}

fn order() -> Value {
    json!({"order": {"id": "A-1", "total": 12.5, "lines": [1, 2]}})
}

/// Reads `delivery`, and checks that reading it back later shows the same payload.
fn golden(saga: &Saga, delivery: &Delivery) -> (String, Event) {
    let (id, event) = event(saga, delivery);
    assert_eq!(event.name, "OrderPlaced");
    let view = event.view.as_deref().cloned();
    assert_eq!(view, Some(order()));
    assert_eq!(payload_view(&saga.watch[0].read, &event.payload.envelope_value(), &delivery.body), view);
    let again = stored_event(saga, "OrderPlaced", &event.payload.stored(&event.message)).unwrap();
    assert_eq!(again, json!({"body": order(), "headers": delivery.envelope.headers}));
    (id, event)
}

fn shown(event: &Event) -> (&str, Option<&str>, Option<Moment>) {
    (&event.message.id, event.message.source.as_deref(), event.message.timestamp)
}

#[test]
fn cloudevents_structured() {
    let body = json!({
        "specversion": "1.0", "type": "OrderPlaced", "source": "/shop", "id": "e-1", "subject": "A-1",
        "time": "1970-01-01T00:00:02Z", "datacontenttype": "application/json", "data": order()
    });
    for content_type in
        ["application/cloudevents+json", "Application/CloudEvents+JSON; charset=utf-8", "application/json", ""]
    {
        let delivery = delivery("shop", "k").with_body(body.to_string()).with_property("content_type", content_type);
        let saga = under(Preset::CloudEvents, &["/order/id"]);
        let (id, event) = golden(&saga, &delivery);
        assert_eq!((id.as_str(), shown(&event)), ("A-1", ("e-1", Some("/shop"), Some(Moment(2_000_000)))));
        assert_eq!(golden(&under(Preset::CloudEvents, &["envelope:/subject"]), &delivery).0, "A-1");
        assert_eq!(golden(&under(Preset::CloudEvents, &[]), &delivery).0, "A-1", "the subject by default");
    }
}

#[test]
fn cloudevents_binary() {
    for prefix in ["cloudEvents:", "cloudEvents_", "ce-", "ce_"] {
        let delivery = delivery("shop", "k")
            .with_body(order().to_string())
            .with_property("content_type", "application/json")
            .with_header(&format!("{prefix}specversion"), "1.0")
            .with_header(&format!("{prefix}type"), "OrderPlaced")
            .with_header(&format!("{prefix}source"), "/shop")
            .with_header(&format!("{prefix}id"), 77)
            .with_header(&format!("{prefix}subject"), "A-2")
            .with_header(&format!("{prefix}time"), "1970-01-01T01:00:02+01:00");
        let (id, event) = golden(&under(Preset::CloudEvents, &["envelope:/subject"]), &delivery);
        assert_eq!((id.as_str(), shown(&event)), ("A-2", ("77", Some("/shop"), Some(Moment(2_000_000)))));
    }
}

#[test]
fn cloudevents_with_encoded_data() {
    use base64::Engine as _;
    let data = base64::engine::general_purpose::STANDARD.encode(order().to_string());
    let body = json!({"specversion": "1.0", "type": "OrderPlaced", "source": "s", "id": "e", "data_base64": data});
    let delivery = delivery("shop", "").with_body(body.to_string());
    assert_eq!(golden(&under(Preset::CloudEvents, &["/order/id"]), &delivery).0, "A-1");

    let broken = json!({"specversion": "1.0", "type": "OrderPlaced", "data_base64": "%"});
    let saga = under(Preset::CloudEvents, &["/order/id"]);
    let broken = crate::wire::fixture::delivery("shop", "").with_body(broken.to_string());
    assert_eq!(outcome(&saga, &broken), "unreadable - -");
}

#[test]
fn a_cloudevent_without_data_has_no_payload() {
    let body = json!({"specversion": "1.0", "type": "OrderPlaced", "source": "s", "id": "e", "subject": "A-1"});
    let saga = saga(
        vec![(exchange("shop", None), by(&[], &["/order/id", "envelope:/subject"], Some(Preset::CloudEvents)))],
        &[("OrderPlaced", "body == null")],
    );
    let delivery = delivery("shop", "").with_body(body.to_string());
    assert_eq!(event(&saga, &delivery).0, "A-1");
    assert_eq!(payload_view(&saga.watch[0].read, &json!({}), &delivery.body), None);
}

#[test]
fn formats_of_cloudevents_that_are_no_json_document_cannot_be_read() {
    let saga = under(Preset::CloudEvents, &["/order/id"]);
    for content_type in ["application/cloudevents-batch+json", "application/cloudevents+avro"] {
        let delivery = delivery("shop", "").with_body("[]").with_property("content_type", content_type);
        assert_eq!(outcome(&saga, &delivery), "unreadable - -");
    }
}

#[test]
fn a_cloudevent_read_without_preset_still_has_its_own_id_and_source() {
    let saga = saga(vec![(exchange("shop", None), by(&["/type"], &["/data/order/id"], None))], &[("OrderPlaced", "")]);
    let body = json!({"specversion": "1.0", "type": "OrderPlaced", "source": "/shop", "id": "e-1", "data": order()});
    let declared =
        delivery("shop", "").with_body(body.to_string()).with_property("content_type", "application/cloudevents+json");
    assert_eq!(shown(&event(&saga, &declared).1), ("e-1", Some("/shop"), None));
    let undeclared = delivery("shop", "").with_body(body.to_string());
    assert_eq!(event(&saga, &undeclared).1.identity, None);
}

#[test]
fn events_over_http_are_cloudevents_unless_the_saga_says_otherwise() {
    let mut saga = under(Preset::CloudEvents, &["/order/id"]);
    let structured = json!({
        "specversion": "1.0", "type": "OrderPlaced", "source": "/curl", "id": "h-1", "subject": "H-1", "data": order()
    });
    let structured = delivery("", "")
        .with_body(structured.to_string())
        .with_property("content_type", "application/cloudevents+json");
    let (id, placed) = event(&saga, &structured);
    assert_eq!((id.as_str(), shown(&placed)), ("H-1", ("h-1", Some("/curl"), None)));
    assert_eq!(placed.message.exchange, "");

    let binary = delivery("", "")
        .with_body(order().to_string())
        .with_header("cloudEvents:specversion", "1.0")
        .with_header("cloudEvents:type", "OrderPlaced")
        .with_header("cloudEvents:source", "/curl")
        .with_header("cloudEvents:id", "h-2")
        .with_header("cloudEvents:subject", "Zürich 100%25");
    assert_eq!(event(&saga, &binary).0, "Zürich 100%25", "whoever took it has decoded it, once");

    let mut read = by(&["header:X-Event"], &["/order/id"], None);
    read.order_id = OrderIdFrom::Message(selectors(&["/order/id"]));
    saga.watch.push(crate::saga::definition::Watch { place: Place::Http, read });
    assert_eq!(outcome(&saga, &structured), "no_event - -");
    let plain = delivery("", "").with_body(order().to_string()).with_header("x-event", "OrderPlaced");
    assert_eq!(event(&saga, &plain).0, "A-1");
}

#[test]
fn what_went_straight_into_the_tap_is_not_from_http() {
    let saga = under(Preset::CloudEvents, &[]);
    assert_eq!(outcome(&saga, &delivery("", "escrow.tap.default").with_body("{}")), "elsewhere");
}

#[test]
fn masstransit() {
    let body = json!({
        "messageId": "181c0000-6393-3630-36a4-08daf4e7c6da", "conversationId": "c-1", "sourceAddress": "rabbitmq://localhost/shop",
        "destinationAddress": "rabbitmq://localhost/Shop:OrderPlaced",
        "messageType": ["urn:message:Shop.Contracts:OrderPlaced", "urn:message:Shop.Contracts:IEvent"],
        "message": order(), "sentTime": "1970-01-01T00:00:03.1234567Z", "headers": {"tenant": "eu"}, "host": {}
    });
    let delivery = delivery("shop", "")
        .with_body(body.to_string())
        .with_property("content_type", "application/vnd.masstransit+json");
    let (id, event) = golden(&under(Preset::MassTransit, &["/order/id"]), &delivery);
    let message_id = "181c0000-6393-3630-36a4-08daf4e7c6da";
    assert_eq!((id.as_str(), shown(&event)), ("A-1", (message_id, None, Some(Moment(3_123_456)))));
    assert_eq!(golden(&under(Preset::MassTransit, &["envelope:/headers/tenant"]), &delivery).0, "eu");
}

#[test]
fn a_type_may_be_named_in_full_or_by_what_it_implements() {
    let body = json!({
        "messageType": ["urn:message:Shop.Contracts:OrderPlaced", "urn:message:Shop.Contracts:IEvent"], "message": {"id": 1}
    });
    let delivery = delivery("shop", "").with_body(body.to_string());
    for name in ["OrderPlaced", "Shop.Contracts:OrderPlaced", "IEvent"] {
        let saga = saga(vec![(exchange("shop", None), by(&[], &["/id"], Some(Preset::MassTransit)))], &[(name, "")]);
        assert_eq!(event(&saga, &delivery).1.name, name);
    }
    let saga = under(Preset::MassTransit, &["/id"]);
    let message = |body: &str| crate::wire::fixture::delivery("shop", "").with_body(body);
    assert_eq!(outcome(&saga, &message(r#"{"message": {}}"#)), "no_event - -");
    assert_eq!(outcome(&saga, &message(r#"{"messageType": "OrderPlaced"}"#)), "unreadable - -");
    assert_eq!(
        outcome(&saga, &message(r#"{"messageType": ["urn:message:A:OrderPlaced"]}"#)),
        "condition_failed OrderPlaced -"
    );
}

#[test]
fn nservicebus() {
    let delivery = delivery("shop", "")
        .with_body(format!("\u{feff}{}", order()))
        .with_header(
            "NServiceBus.EnclosedMessageTypes",
            "Shop.Orders.OrderPlaced, Shop, Version=1.0.0.0, Culture=neutral, PublicKeyToken=null;Shop.IEvent, Shop",
        )
        .with_header("NServiceBus.MessageId", "9b1f")
        .with_header("NServiceBus.ConversationId", "c-9")
        .with_header("NServiceBus.TimeSent", "1970-01-01 00:00:04:000005 Z");
    let (id, event) = golden(&under(Preset::NServiceBus, &["/order/id"]), &delivery);
    assert_eq!((id.as_str(), shown(&event)), ("A-1", ("9b1f", None, Some(Moment(4_000_005)))));
    let by_conversation = under(Preset::NServiceBus, &["envelope:/NServiceBus.ConversationId"]);
    assert_eq!(golden(&by_conversation, &delivery).0, "c-9");
}

#[test]
fn explicit_selectors_go_before_the_preset() {
    let mut saga = under(Preset::NServiceBus, &["/order/id"]);
    saga.watch[0].read.event = selectors(&["property:type"]);
    saga.watch[0].read.id = selectors(&["/order/id"]);
    let delivery = delivery("shop", "")
        .with_body(order().to_string())
        .with_property("type", "OrderPlaced")
        .with_property("message_id", "m-1")
        .with_header("NServiceBus.EnclosedMessageTypes", "Shop.Other");
    assert_eq!(event(&saga, &delivery).1.message.id, "A-1");
}

#[test]
fn reading_back_takes_the_way_that_finds_the_event() {
    let saga = saga(
        vec![
            (exchange("shop", None), by(&["/type"], &["/id"], None)),
            (exchange("shop", None), by(&[], &["/id"], Some(Preset::MassTransit))),
        ],
        &[("OrderPlaced", "")],
    );
    let body = json!({"messageType": ["urn:message:Shop:OrderPlaced"], "message": {"id": 5}});
    let delivery = delivery("shop", "").with_body(body.to_string());
    let (_, event) = event(&saga, &delivery);
    let mut stored = event.payload.stored(&event.message);
    assert_eq!(stored_event(&saga, "OrderPlaced", &stored), Some(json!({"body": {"id": 5}, "headers": {}})));
    stored.body = None;
    assert_eq!(stored_event(&saga, "OrderPlaced", &stored), None, "erased");
}
