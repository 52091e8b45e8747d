//! What is gathered of the ways messages look in the field.

use serde_json::{Value, json};

use super::*;
use crate::bus::Envelope;

fn message(routing_key: &str, body: &Value, properties: &[(&str, &str)], headers: &[(&str, &str)]) -> Delivery {
    let table = |all: &[(&str, &str)]| all.iter().map(|(name, value)| ((*name).into(), Value::from(*value))).collect();
    Delivery {
        exchange: "shop".into(),
        routing_key: routing_key.into(),
        envelope: Envelope { headers: table(headers), properties: table(properties) },
        body: body.to_string().into_bytes(),
        redelivered: false,
    }
}

/// Events of several orders, each made by `of` from its name, the number of its order, and its own number.
fn orders(names: &[&str], of: impl Fn(&str, usize, usize) -> Delivery) -> Vec<Delivery> {
    let pairs = (0..6).flat_map(|order| names.iter().map(move |name| (order, *name)));
    pairs.enumerate().map(|(number, (order, name))| of(name, order, number)).collect()
}

fn names(seen: &Gathered) -> Vec<(Option<&str>, usize)> {
    seen.events.iter().map(|event| (event.name.as_deref(), event.count)).collect()
}

const TWO: [&str; 2] = ["OrderPlaced", "PaymentProcessed"];

#[test]
fn names_and_ids_are_found_wherever_they_stand() {
    type Of = fn(&str, usize, usize) -> Delivery;
    let ways: [(&str, &[&str], &str, Of); 8] = [
        ("an envelope of its own", &["/event_type"], "/data/order_id", |name, order, number| {
            let data = json!({"order_id": format!("A-{order}"), "customer_id": "c-1", "total": 5});
            message("", &json!({"event_type": name, "event_id": format!("e-{number}"), "data": data}), &[], &[])
        }),
        ("camel case", &["/eventType"], "/orderId", |name, order, number| {
            message("", &json!({"eventType": name, "id": number, "orderId": order}), &[], &[])
        }),
        ("one level down", &["/meta/eventType"], "/payload/order/id", |name, order, number| {
            let meta = json!({"eventType": name, "id": format!("m-{number}")});
            message("", &json!({"meta": meta, "payload": {"order": {"id": format!("A-{order}")}}}), &[], &[])
        }),
        ("the property", &["property:type"], "property:correlation_id", |name, order, _| {
            let properties = [("type", name), ("correlation_id", &*format!("corr-{order}"))];
            message("k", &json!({"total": 1}), &properties, &[])
        }),
        ("a header", &["header:x-event-type"], "header:order-id", |name, order, _| {
            let headers = [("x-event-type", name), ("order-id", &*format!("A-{order}"))];
            message("k", &json!(null), &[], &headers)
        }),
        ("the routing key", &["routing_key"], "/ref", |name, order, number| {
            message(name, &json!({"ref": format!("R-{order}"), "uuid": format!("u-{number}")}), &[], &[])
        }),
        ("a name that is the customer's", &["routing_key"], "/order_id", |name, order, number| {
            message(name, &json!({"name": format!("Customer {number}"), "order_id": order}), &[], &[])
        }),
        ("a word with a slash", &["/type"], "/or~1der/no", |name, order, _| {
            message("k", &json!({"type": name, "or/der": {"no": format!("N-{order}")}}), &[], &[])
        }),
    ];
    for (what, event, order_id, of) in ways {
        let seen = gather(&orders(&TWO, of));
        assert_eq!(names(&seen), [(Some("OrderPlaced"), 6), (Some("PaymentProcessed"), 6)], "{what}");
        assert_eq!((seen.preset, seen.event.as_slice()), (None, &event.map_to_strings()[..]), "{what}");
        assert_eq!(seen.chosen, [order_id], "{what}: {:?}", seen.order_ids);
        assert_eq!(seen.events[0].order_ids[0], order_id, "{what}");
    }
}

trait Strings {
    fn map_to_strings(&self) -> Vec<String>;
}

impl Strings for &[&str] {
    fn map_to_strings(&self) -> Vec<String> {
        self.iter().map(|it| (*it).to_owned()).collect()
    }
}

#[test]
fn presets_are_known_by_what_they_say_of_themselves() {
    type Of = fn(&str, usize, usize) -> Delivery;
    let ways: [(Preset, &str, Of); 4] = [
        (Preset::CloudEvents, "envelope:/subject", |name, order, number| {
            let body = json!({"specversion": "1.0", "type": name, "source": "/s", "id": number.to_string(),
                "subject": format!("A-{order}"), "data": {"total": 1}});
            message("", &body, &[], &[])
        }),
        (Preset::CloudEvents, "/order_id", |name, order, number| {
            let headers = [("ce-specversion", "1.0"), ("ce-type", name), ("ce-id", &*format!("id-{number}"))];
            message("", &json!({"order_id": format!("A-{order}")}), &[], &headers)
        }),
        (Preset::MassTransit, "/orderId", |name, order, number| {
            let body = json!({"messageId": number.to_string(), "messageType": [format!("urn:message:Shop:{name}")],
                "message": {"orderId": format!("A-{order}"), "type": "x"}});
            message("", &body, &[], &[])
        }),
        (Preset::NServiceBus, "/OrderId", |name, order, number| {
            let headers = [
                ("NServiceBus.EnclosedMessageTypes", &*format!("Shop.{name}, Shop, Version=1.0.0.0")),
                ("NServiceBus.MessageId", &*format!("m-{number}")),
            ];
            message("", &json!({"OrderId": format!("A-{order}")}), &[], &headers)
        }),
    ];
    for (preset, order_id, of) in ways {
        let seen = gather(&orders(&TWO, of));
        assert_eq!(names(&seen), [(Some("OrderPlaced"), 6), (Some("PaymentProcessed"), 6)], "{preset:?}");
        assert_eq!((seen.preset, seen.event.len()), (Some(preset), 0), "{preset:?}");
        assert_eq!(seen.chosen, [order_id], "{preset:?}: {:?}", seen.order_ids);
    }
}

#[test]
fn a_plain_type_is_no_cloudevent() {
    let seen = gather(&[message("", &json!({"type": "OrderPlaced", "data": {}}), &[], &[])]);
    assert_eq!((seen.preset, seen.event.as_slice()), (None, &["/type".to_owned()][..]));
}

#[test]
fn services_that_write_names_and_ids_differently_get_a_list() {
    let deliveries = orders(&TWO, |name, order, _| {
        let order = format!("A-00{order}");
        match name {
            "OrderPlaced" => message("", &json!({"event_type": name, "type": "domain", "order_id": order}), &[], &[]),
            _ => message("", &json!({"type": name, "orderId": order}), &[], &[]),
        }
    });
    let seen = gather(&deliveries);
    assert_eq!(seen.event, ["/event_type", "/type"]);
    let chosen: BTreeSet<&str> = seen.chosen.iter().map(String::as_str).collect();
    assert_eq!(chosen, BTreeSet::from(["/order_id", "/orderId"]));
}

#[test]
fn an_id_that_links_events_goes_before_one_that_is_new_or_the_same_everywhere() {
    let seen = gather(&orders(&TWO, |name, order, number| {
        let body =
            json!({"type": name, "id": format!("m-{number}"), "tenant_id": "eu", "case_ref": format!("C-{order}")});
        message("", &body, &[], &[])
    }));
    let shown = |selector: &str| {
        let place = seen.order_ids.iter().position(|id| id.selector == selector).unwrap();
        let id = &seen.order_ids[place];
        (place, id.present, id.distinct, id.linking)
    };
    assert_eq!(shown("/case_ref"), (0, 12, 6, 6));
    assert_eq!((shown("/id").1, shown("/id").2, shown("/id").3), (12, 12, 0));
    assert_eq!(shown("/tenant_id").2, 1);
}

#[test]
fn what_an_event_came_with_is_counted() {
    let mut first =
        message("b", &json!({"type": "A"}), &[("message_id", "1"), ("content_type", "application/json")], &[]);
    first.body = format!("{{\"type\": \"A\", \"x\": \"\u{1b}[31m{}é\"}}", "ö".repeat(400)).into_bytes();
    first.body.retain(|byte| *byte != 0x1b);
    let mut unread = message("b", &json!({}), &[], &[]);
    unread.body = b"\x1b]0;owned\x07\xff".to_vec();
    unread.routing_key = String::new();
    let seen = gather(&[unread, first, message("a", &json!({"type": "A"}), &[], &[])]);
    assert_eq!(names(&seen), [(Some("A"), 2), (None, 1)], "what has no name is the last");
    let event = &seen.events[0];
    assert_eq!(event.routing_keys, BTreeSet::from(["a".to_owned(), "b".to_owned()]));
    assert_eq!((event.content_types.len(), event.with_message_id), (1, 1));
    assert_eq!(event.found, BTreeMap::from([(Way::Selector("/type".into()), 2)]));
    assert!(event.sample.ends_with("ö…") && event.sample.len() <= SAMPLE_BYTES_MAX + 3, "{}", event.sample);
    assert_eq!(seen.events[1].sample, "\\u{1b}]0;owned\\u{7}\u{fffd}");
}

#[test]
fn messages_of_escrow_itself_are_counted_aside() {
    let mut own = message("", &json!({"type": "A"}), &[], &[]);
    let mark = crate::wire::own_mark("key", &own.body);
    own.envelope.headers.insert(crate::wire::OWN.into(), mark.into());
    let seen = gather(&[own]);
    assert_eq!((seen.messages, seen.own, seen.events.len()), (0, 1, 0));
    assert_eq!(gather(&[]), Gathered::default());
}
