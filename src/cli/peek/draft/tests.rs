//! Whatever was seen, the definition to begin with is one.

use serde_json::{Value, json};

use super::*;
use crate::bus::{Delivery, Envelope};
use crate::cli::peek::gather::gather;
use crate::saga::definition::{Mode, OrderIdFrom, Place, Preset, Saga, Selector};
use crate::saga::parse::{Ink, parse};

fn message(routing_key: &str, body: &Value) -> Delivery {
    Delivery {
        exchange: "shop".into(),
        routing_key: routing_key.into(),
        envelope: Envelope::default(),
        body: body.to_string().into_bytes(),
        redelivered: false,
    }
}

fn drafted(exchange: &str, keys: Option<&[String]>, deliveries: &[Delivery]) -> (Saga, String) {
    let text = draft(&[exchange.to_owned()], keys, &gather(deliveries)).expect("there is something to begin with");
    match parse("draft.yaml", &text) {
        Ok(parsed) => (parsed.saga, text),
        Err(findings) => {
            let shown: String = findings.iter().map(|it| it.render(&text, Ink::Plain) + "\n").collect();
            panic!("{shown}\n{text}")
        }
    }
}

#[test]
fn what_was_seen_becomes_a_definition_that_reads_it() {
    let placed = |order: &str| message("", &json!({"event_type": "OrderPlaced", "data": {"order_id": order}}));
    let paid = |order: &str| message("", &json!({"event_type": "PaymentProcessed", "data": {"order_id": order}}));
    let keys = ["order.#".to_owned(), String::new()];
    let (saga, text) = drafted("order_exchange", Some(&keys), &[placed("A"), paid("A"), placed("B"), paid("B")]);
    assert_eq!((saga.name.as_str(), saga.version, saga.mode), ("order_exchange", 1, Mode::Observe));
    let steps: Vec<_> =
        saga.steps.iter().map(|it| (it.name.as_str(), it.done[0].event.as_str(), it.after.clone())).collect();
    assert_eq!(steps, [("order_placed", "OrderPlaced", vec![]), ("payment_processed", "PaymentProcessed", vec![0])]);
    let read = &saga.watch[0].read;
    assert_eq!(read.event, [Selector::Pointer("/event_type".into())]);
    assert_eq!(read.order_id, OrderIdFrom::Message(vec![Selector::Pointer("/data/order_id".into())]));
    let Place::Exchange { name, keys: bound, .. } = &saga.watch[0].place else { panic!("{text}") };
    assert_eq!((name.as_str(), bound.as_deref()), ("order_exchange", Some(&keys[..])));
    assert!(text.contains("4 of 4 messages carry no message_id"), "{text}");
}

#[test]
fn a_preset_is_written_as_one() {
    let body =
        json!({"specversion": "1.0", "type": "OrderPlaced", "source": "/s", "id": "1", "subject": "A", "data": {}});
    let (saga, text) = drafted("shop", None, &[message("", &body)]);
    assert_eq!(saga.watch[0].read.preset, Some(Preset::CloudEvents), "{text}");
}

#[test]
fn names_that_are_no_yaml_and_no_step_names_are_quoted() {
    let names = [
        "true",
        "null",
        "1",
        "1.5",
        "- a",
        "a: b",
        "#",
        "a #b",
        "\"",
        "'",
        "\\",
        "{x}",
        "[",
        "*",
        "&a",
        "!t",
        "|",
        "%",
        "@",
        "`",
        "}}",
        "Größe",
        "订单",
        "A pizza was ordered",
        "order.placed",
        "order-placed",
        "order_placed",
        "a:",
        " ",
        "~",
        "=",
        "Shop.Orders:Placed",
        "2026-11-21",
        "0x1F",
        &"long".repeat(60),
    ];
    for name in names {
        let (saga, text) = drafted(name, None, &[message("k", &json!({"event_type": name, "x ' #": {"id": name}}))]);
        assert_eq!(saga.steps[0].done[0].event, *name, "{text}");
    }
    let all: Vec<Delivery> = names.iter().map(|name| message("k", &json!({"event_type": name}))).collect();
    let (saga, text) = drafted("shop", None, &[all.clone(), all].concat());
    assert_eq!(saga.steps.len(), names.len(), "{text}");
}

#[test]
fn what_cannot_be_shown_plainly_is_left_out_and_counted() {
    let deliveries = ["A", "b\u{1b}[0m", "{{ c }}"].map(|name| message("", &json!({"event_type": name})));
    let (saga, text) = drafted("shop", None, &deliveries);
    assert_eq!(saga.steps.len(), 1);
    assert!(text.contains("# 2 more kinds of events") && !text.contains('\u{1b}'), "{text}");
}

#[test]
fn more_events_than_a_saga_has_are_cut() {
    let deliveries: Vec<Delivery> =
        (0..70).flat_map(|n| [n, n].map(|n| message(&format!("k{n}"), &json!({})))).collect();
    let (saga, text) = drafted("shop", None, &deliveries);
    assert_eq!(saga.steps.len(), STEPS_MAX);
    assert!(text.contains("# 20 more kinds of events"), "{text}");
}

#[test]
fn without_a_name_there_is_nothing_to_begin_with() {
    let shop = ["shop".to_owned()];
    assert_eq!(draft(&shop, None, &gather(&[])), None);
    assert_eq!(draft(&shop, None, &gather(&[message("", &json!({"total": 1}))])), None);
}
