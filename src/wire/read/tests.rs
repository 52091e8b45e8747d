use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::bus::{Delivery, Envelope};
use crate::saga::definition::{Place, Preset};
use crate::saga::expression::Expression;
use crate::saga::time::Span;
use crate::wire::fixture::{
    KEEP_BYTES, SALT, by, delivery, event, exchange, outcome, placed, plain, reading, saga, selectors,
};

#[test]
fn an_event_is_read_with_all_that_tells_it_apart() {
    let mut saga = plain();
    saga.attributes = vec![
        ("customer".to_owned(), selectors(&["/data/customer"])),
        ("shop".to_owned(), selectors(&["/data/none", "exchange"])),
        ("nothing".to_owned(), selectors(&["/data/nothing"])),
    ];
    let body = r#"{"event_type": "OrderPlaced", "data": {"order_id": 4711, "customer": {"vip": true}}}"#;
    let delivery = delivery("shop", "eu")
        .with_body(body)
        .with_property("message_id", "m-1")
        .with_property("timestamp", 1_000)
        .with_header("x", 1);
    let message = Message::new(&delivery, SALT, KEEP_BYTES, Some(Span(5)));
    let Reading::Event { order, event } = read(&saga, &message) else { panic!("no event") };
    assert_eq!(order, OrderRef::Id("4711".to_owned()));
    assert_eq!(event.name, "OrderPlaced");
    assert_eq!(event.roles, [Role::Done(0)]);
    assert_eq!(
        event.message,
        MessageRef {
            id: "m-1".to_owned(),
            exchange: "shop".to_owned(),
            routing_key: "eu".to_owned(),
            source: None,
            timestamp: Some(Moment(1_000_000_000)),
        }
    );
    assert_eq!(event.attributes, [("customer".to_owned(), json!({"vip": true})), ("shop".to_owned(), json!("shop"))]);
    assert_eq!(event.payload.body.as_deref(), Some(body.as_bytes()));
    assert_eq!(
        event.payload.envelope_value(),
        json!({"headers": {"x": 1}, "properties": {"message_id": "m-1", "timestamp": 1_000}})
    );
    assert_eq!((event.payload.salt, event.lag, event.inferred), (SALT, Some(Span(5)), false));
    assert!(event.identity.is_some());
}

#[test]
fn order_ids_are_text_or_whole_numbers_as_they_were_written() {
    let with = |id: &str| {
        delivery("shop", "").with_body(format!(r#"{{"event_type":"OrderPlaced","data":{{"order_id":{id}}}}}"#))
    };
    for (written, id) in [
        ("123456789012345678901234567890", "123456789012345678901234567890"),
        ("-5", "-5"),
        ("\"007\"", "007"),
        ("\"a/b c\"", "a/b c"),
        ("\"\\u00e9\"", "é"),
    ] {
        assert_eq!(event(&plain(), &with(written)).0, id);
    }
    let long = format!("\"{}\"", "x".repeat(257));
    for bad in ["1.0", "1e2", "true", "[1]", "{}", "\"\"", "\"a\\u0000\"", "\"\\udc00\"", &long] {
        assert_eq!(outcome(&plain(), &with(bad)), "bad_order_id OrderPlaced -", "{bad}");
    }
    assert_eq!(outcome(&plain(), &with("null")), "no_order_id OrderPlaced -");
}

#[test]
fn of_an_event_no_step_names_nothing_else_is_read() {
    let without_id = delivery("shop", "").with_body(r#"{"event_type": "Heartbeat"}"#);
    assert_eq!(outcome(&plain(), &without_id), "ignored");

    let by_key = saga(
        vec![(exchange("shop", None), by(&["routing_key"], &["/id"], Some(Preset::MassTransit)))],
        &[("order.placed", "")],
    );
    let noise = |key: &str| delivery("shop", key).with_body([0xff, 0x00]);
    assert_eq!(outcome(&by_key, &noise("order.shipped")), "ignored");
    assert_eq!(outcome(&by_key, &noise("order.placed")), "unreadable order.placed -");
}

#[test]
fn what_cannot_be_read_says_why() {
    let cases: [(&[u8], &str); 7] = [
        (br#"{"event_type": "OrderPlaced"}"#, "no_order_id OrderPlaced -"),
        (br#"{"data": {}}"#, "no_event - -"),
        (br#"{"event_type": null}"#, "no_event - -"),
        (br#"{"event_type": 1.5}"#, "bad_event - -"),
        (br#"{"event_type": ""}"#, "bad_event - -"),
        (b"\xff\xfe", "unreadable - -"),
        (b"", "unreadable - -"),
    ];
    for (body, expected) in cases {
        assert_eq!(outcome(&plain(), &delivery("shop", "").with_body(body)), expected);
    }
    let truncated = delivery("shop", "").with_body(r#"{"event_type": "OrderPlaced", "data": "#);
    let Reading::Unreadable { detail, .. } = reading(&plain(), &truncated) else { panic!("readable") };
    assert!(detail.starts_with("the body is no JSON"), "{detail}");
}

#[test]
fn a_body_that_is_not_needed_may_be_anything() {
    let by_header =
        saga(vec![(exchange("shop", None), by(&["routing_key:2"], &["/id", "header:order"], None))], &[("placed", "")]);
    let delivery = delivery("shop", "order.placed").with_body([0xff]).with_header("order", 42);
    assert_eq!(event(&by_header, &delivery).0, "42");
}

#[test]
fn a_byte_order_mark_is_no_part_of_the_body() {
    let body = b"\xEF\xBB\xBF{\"event_type\": \"OrderPlaced\", \"data\": {\"order_id\": 1}}";
    assert_eq!(event(&plain(), &delivery("shop", "").with_body(*body)).0, "1");
}

#[test]
fn a_condition_decides_what_an_event_means() {
    let saga = saga(
        vec![(exchange("shop", None), by(&["/type"], &["/id"], None))],
        &[
            ("Changed", "body.status == 'OK'"),
            ("Changed", "body.status == 'REJECTED' && headers.kind == 'final'"),
            ("Changed", "routing_key == 'special'"),
        ],
    );
    let changed = |status: &str, key: &str| {
        let body = json!({"type": "Changed", "id": 1, "status": status});
        delivery("shop", key).with_body(body.to_string()).with_header("kind", "final")
    };
    assert_eq!(event(&saga, &changed("OK", "")).1.roles, [Role::Done(0)]);
    assert_eq!(event(&saga, &changed("REJECTED", "special")).1.roles, [Role::Done(1), Role::Done(2)]);
    assert_eq!(outcome(&saga, &changed("WAITING", "")), "ignored");

    let unheld = delivery("shop", "").with_body(r#"{"type": "Changed", "status": "WAITING"}"#);
    assert_eq!(outcome(&saga, &unheld), "ignored", "an event that means nothing needs no order id");

    let failing = delivery("shop", "").with_body(r#"{"type": "Changed", "id": 7}"#);
    assert_eq!(outcome(&saga, &failing), "condition_failed Changed 7");
}

#[test]
fn a_condition_on_a_body_that_is_no_json_cannot_be_read() {
    let saga = saga(
        vec![(exchange("shop", None), by(&["routing_key"], &["header:id"], None))],
        &[("Changed", "body.status == 'OK'")],
    );
    let delivery = delivery("shop", "Changed").with_body("<status>OK</status>").with_header("id", "9");
    assert_eq!(outcome(&saga, &delivery), "unreadable Changed 9");
}

#[test]
fn a_role_named_twice_counts_once_and_one_that_holds_asks_no_further() {
    let mut saga = plain();
    let failing = Expression::compile("body.missing == 1").unwrap();
    let roles = saga.roles.get_mut("OrderPlaced").unwrap();
    roles.push(PatternRole { role: Role::Done(0), condition: Some(failing) });
    assert_eq!(event(&saga, &placed(&json!(1))).1.roles, [Role::Done(0)]);
}

#[test]
fn counted_events_are_told_apart_by_their_part() {
    let mut saga = plain();
    saga.steps[0].by = selectors(&["/data/parcel"]);
    let shipped = |parcel: &str| {
        let body = format!(r#"{{"event_type":"OrderPlaced","data":{{"order_id":1,"parcel":{parcel}}}}}"#);
        delivery("shop", "").with_body(body)
    };
    let parts = event(&saga, &shipped("12345678901234567890123")).1.parts;
    assert_eq!(parts, BTreeMap::from([(0, "12345678901234567890123".to_owned())]));
    assert_eq!(outcome(&saga, &shipped("null")), "condition_failed OrderPlaced 1");
    assert_eq!(outcome(&saga, &shipped("[]")), "condition_failed OrderPlaced 1");
}

#[test]
fn the_same_message_has_one_identity_and_any_other_another() {
    let saga = plain();
    let message = |id: &str, order: u32| placed(&json!(order)).with_property("message_id", id);
    let identity = |delivery: &Delivery| event(&saga, delivery).1.identity;
    assert_eq!(identity(&message("m", 1)), identity(&message("m", 1).with_header("x-delivery-count", 2)));
    assert_ne!(identity(&message("m", 1)), identity(&message("n", 1)));
    assert_ne!(identity(&message("m", 1)), identity(&message("m", 2)), "the same id with another body");
    assert_eq!(identity(&placed(&json!(1))), None);
    assert_eq!(identity(&message("", 1)), None);
}

#[test]
fn the_identity_is_the_documented_hash() {
    let parts: [&[u8]; 4] = [b"e", b"shop", b"m", &[1; 32]];
    let mut bytes = Vec::new();
    for part in parts {
        bytes.extend_from_slice(&(part.len() as u64).to_be_bytes());
        bytes.extend_from_slice(part);
    }
    let hash: [u8; 32] = sha2::Sha256::digest(&bytes).into();
    assert_eq!(identity("e", "shop", "m", &[1; 32]), hash[..16]);
}

#[test]
fn the_id_comes_from_the_definition_then_the_message_then_the_content() {
    let mut saga = plain();
    saga.watch[0].read.id = selectors(&["header:my-id", "/data/number"]);
    let id = |delivery: &Delivery| event(&saga, delivery).1.message.id;
    let with_all = placed(&json!(1)).with_property("message_id", "m").with_header("my-id", 12);
    assert_eq!(id(&with_all), "12");
    assert_eq!(id(&placed(&json!(1)).with_property("message_id", "m")), "m");

    let without = placed(&json!(1));
    let hash = Message::new(&without, SALT, KEEP_BYTES, None).content_hash();
    assert_eq!(id(&without), hex(&hash[..16]));
}

#[test]
fn the_hash_of_the_content_does_not_see_what_the_broker_adds() {
    let hash = |delivery: &Delivery| Message::new(delivery, SALT, 0, None).content_hash();
    let plain = placed(&json!(1));
    assert_eq!(hash(&plain), hash(&plain.clone().with_header("x-delivery-count", 1).with_header("x-death", json!([]))));
    assert_ne!(hash(&plain), hash(&plain.clone().with_header("x-kind", 1)));
    assert_ne!(hash(&plain), hash(&plain.clone().with_property("type", "t")));
    // Nor what is said of the types of what it adds.
    let typed = |delivery: &Delivery, types| delivery.clone().with_property(Envelope::TYPES, types);
    assert_eq!(hash(&plain), hash(&typed(&plain, json!({"/x-delivery-count": "l", "/x-death/0/count": "l"}))));
    let kind = json!({"/x-kind": "l"});
    assert_ne!(hash(&plain), hash(&typed(&plain, kind.clone())));
    assert_eq!(hash(&typed(&plain, kind)), hash(&typed(&plain, json!({"/x-delivery-count": "l", "/x-kind": "l"}))));
    assert_ne!(hash(&plain), hash(&placed(&json!(2))));
}

#[test]
fn what_is_shown_of_a_message_can_always_be_stored() {
    let id = format!("{}\0{}", "é".repeat(100), "x".repeat(300));
    let (_, event) = event(&plain(), &placed(&json!(1)).with_property("message_id", id));
    assert!(event.message.id.len() <= SHOWN_ID_BYTES_MAX + 2 && !event.message.id.contains('\0'));
    assert_eq!(shown(&"é".repeat(200)).len(), 256);
}

#[test]
fn a_timestamp_in_milliseconds_is_understood() {
    let at = |value: Value| timestamp(&value);
    assert_eq!(at(json!(1_700_000_000)), Some(Moment(1_700_000_000_000_000)));
    assert_eq!(at(json!(1_700_000_000_123_i64)), Some(Moment(1_700_000_000_123_000)));
    assert_eq!(at(json!(u64::MAX)), None);
    assert_eq!(at(json!(i64::MAX)), None);
    assert_eq!(at(json!(-1)), None);
    assert_eq!(at(json!("now")), None);
}

#[test]
fn a_saga_sees_the_places_it_watches_and_the_keys_it_names() {
    let saga = saga(
        vec![
            (exchange("shop", Some(&["order.*", "payment.#"])), by(&["routing_key"], &["/id"], None)),
            (exchange("stock", None), by(&["routing_key"], &["/ref"], None)),
        ],
        &[("order.placed", ""), ("payment", ""), ("stock", "")],
    );
    let at = |exchange: &str, key: &str| outcome(&saga, &delivery(exchange, key).with_body(r#"{"id": 1, "ref": 2}"#));
    assert_eq!(at("shop", "order.placed"), "order.placed Id(\"1\")");
    assert_eq!(at("shop", "payment"), "payment Id(\"1\")");
    assert_eq!(at("shop", "order.gone"), "ignored");
    assert_eq!(at("shop", "stock"), "elsewhere");
    assert_eq!(at("stock", "stock"), "stock Id(\"2\")");
    assert_eq!(at("bank", "payment"), "elsewhere");
}

#[test]
fn of_several_ways_to_read_one_exchange_the_first_that_finds_an_event_counts() {
    let saga = saga(
        vec![
            (exchange("shop", None), by(&["/type"], &["/id"], None)),
            (exchange("shop", None), by(&["/kind"], &["/ref"], None)),
        ],
        &[("Placed", "")],
    );
    let at = |body: &str| outcome(&saga, &delivery("shop", "").with_body(body));
    assert_eq!(at(r#"{"type": "Placed", "id": 1}"#), "Placed Id(\"1\")");
    assert_eq!(at(r#"{"kind": "Placed", "ref": 2}"#), "Placed Id(\"2\")");
    assert_eq!(at(r#"{"kind": "Other"}"#), "ignored");
    assert_eq!(at(r#"{"kind": "Placed"}"#), "no_order_id Placed -");
    assert_eq!(at(r#"{"type": "Other", "kind": "Placed"}"#), "no_order_id Placed -");
    assert_eq!(at("{}"), "no_event - -");
}

#[test]
fn without_an_order_id_an_event_is_placed_by_arrival() {
    let mut saga = plain();
    saga.watch[0].read.order_id = OrderIdFrom::Arrival;
    let delivery = delivery("shop", "").with_body(r#"{"event_type": "OrderPlaced"}"#);
    let Reading::Event { order, event } = reading(&saga, &delivery) else { panic!("no event") };
    assert_eq!((order, event.inferred), (OrderRef::Arrival, true));
}

#[test]
fn a_body_too_large_to_keep_is_read_and_only_its_hash_is_kept() {
    let mut saga = plain();
    saga.steps[0].count = Some(Expression::compile("size(steps.step_0.event.data)").unwrap());
    let small = placed(&json!("1"));
    let mut large = small.clone();
    large.body.extend(vec![b' '; KEEP_BYTES]);
    let (_, small) = event(&saga, &small);
    let (id, large) = event(&saga, &large);
    assert_eq!(id, "1");
    assert!(small.payload.body.is_some() && small.view.is_some());
    assert!(large.payload.body.is_none() && large.view.is_none());
    assert_ne!(large.payload.body_hash, small.payload.body_hash);
}

#[test]
fn a_view_is_made_only_where_expressions_read_it() {
    assert_eq!(event(&plain(), &placed(&json!(1))).1.view, None);
}

fn any_header() -> impl Strategy<Value = (String, Value)> {
    let name = prop::sample::select(vec![
        "ce-type",
        "ce_id",
        "cloudEvents:specversion",
        "NServiceBus.EnclosedMessageTypes",
        "NServiceBus.TimeSent",
        "id",
    ]);
    let value = prop_oneof![".{0,20}".prop_map(Value::from), any::<f64>().prop_map(Value::from), Just(json!([null]))];
    (name.prop_map(str::to_owned), value)
}

proptest! {
    #[test]
    fn no_message_makes_reading_panic(
        body in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..60),
            r#"[\[\]{}",:0-9a\\/. messageTypedatbs64_-]{0,60}"#.prop_map(String::into_bytes),
        ],
        key in ".{0,8}",
        headers in prop::collection::vec(any_header(), 0..4),
        content_type in prop::sample::select(vec!["", "application/json", "application/cloudevents+json; charset=utf-8", "application/cloudevents-batch+json"]),
        http: bool,
    ) {
        let base = if http { delivery("", "") } else { delivery("shop", &key) };
        let mut delivery = base.with_body(body).with_property("content_type", content_type);
        delivery.envelope.headers.extend(headers);
        for preset in [None, Some(Preset::CloudEvents), Some(Preset::MassTransit), Some(Preset::NServiceBus)] {
            let way = by(&[], &["/id", "envelope:/id", "header:id", "routing_key:1"], preset);
            let mut plain = by(&["/messageType/0", "routing_key"], &[], preset);
            plain.id = selectors(&["/a", "property:content_type"]);
            for way in [way, plain] {
                let place = if http { Place::Http } else { exchange("shop", None) };
                let saga = saga(vec![(place, way)], &[("a", "body.a == 1"), ("0", "headers.id == routing_key")]);
                prop_assert_ne!(outcome(&saga, &delivery), "elsewhere");
            }
        }
    }
}

fn unreadable(delivery: Delivery, parts: &[&str]) -> Delivery {
    delivery.with_property(crate::bus::UNREADABLE, json!({"parts": parts, "properties": "/w=="}))
}

#[test]
fn a_part_that_was_no_text_matters_only_to_those_who_ask_for_it() {
    let all = ["routing_key", "exchange", "property:type", "header:kind", "headers"];
    assert_eq!(outcome(&plain(), &unreadable(placed(&json!(1)), &all)), r#"OrderPlaced Id("1")"#);
    let cases: [(&str, &[&str]); 5] = [
        ("routing_key", &["routing_key"]),
        ("routing_key:2", &["routing_key"]),
        ("property:type", &["property:type"]),
        ("header:kind", &["header:kind"]),
        ("header:other", &["headers"]),
    ];
    for (selector, parts) in cases {
        let saga =
            saga(vec![(exchange("shop", None), by(&["/event_type"], &[selector], None))], &[("OrderPlaced", "")]);
        let sent = Delivery { routing_key: r"a.caf\xe9".to_owned(), ..placed(&json!(1)) }
            .with_header("kind", r"caf\xe9")
            .with_header("other", "x")
            .with_property("type", r"caf\xe9");
        assert_eq!(outcome(&saga, &unreadable(sent.clone(), parts)), "unreadable OrderPlaced -", "{selector}");
        assert!(outcome(&saga, &unreadable(sent, &["header:fine"])).starts_with("OrderPlaced Id"), "{selector}");
    }
}

#[test]
fn a_condition_over_headers_that_were_no_text_is_never_false() {
    for (condition, part) in [("headers.kind == 'x'", "header:kind"), ("routing_key == 'x'", "routing_key")] {
        let places = vec![(exchange("shop", None), by(&["/event_type"], &["/data/order_id"], None))];
        let saga = saga(places, &[("OrderPlaced", condition)]);
        let sent = placed(&json!(1)).with_header("kind", "y");
        assert_eq!(outcome(&saga, &sent), "ignored", "{condition}");
        assert_eq!(outcome(&saga, &unreadable(sent, &[part])), "unreadable OrderPlaced 1", "{condition}");
    }
}

#[test]
fn a_message_whose_preset_reads_headers_needs_them_all() {
    for preset in [Preset::CloudEvents, Preset::NServiceBus] {
        let places = vec![(exchange("shop", None), by(&[], &["/id"], Some(preset)))];
        let sent = delivery("shop", "").with_body("{}");
        assert_eq!(outcome(&saga(places, &[("OrderPlaced", "")]), &unreadable(sent, &["header:x"])), "unreadable - -");
    }
}

#[test]
fn an_id_that_was_no_text_still_tells_messages_apart() {
    let with = |id: &str| {
        let sent = placed(&json!(1)).with_property("message_id", id);
        event(&plain(), &unreadable(sent, &["property:message_id"])).1.identity
    };
    assert!(with(r"caf\xe9").is_some());
    assert_ne!(with(r"caf\xe9"), with(r"caf\xe8"));
}
