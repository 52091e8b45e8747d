//! A message as sagas of every kind read it.
//!
//! Holds: reading twice gives the same; what is a name fits the databases; what was read can be read back from what is stored, and
//! sent again.

use std::sync::OnceLock;

use escrow::bus::rabbitmq::to_properties;
use escrow::bus::{Delivery, Envelope, UNREADABLE};
use escrow::saga::definition::{RetryTo, Saga};
use escrow::saga::input::Event;
use escrow::saga::order::OrderKey;
use escrow::saga::outgoing::{Content, Outgoing};
use escrow::saga::parse::parse;
use escrow::saga::time::Moment;
use escrow::wire::{Message, OrderRef, Reading, publication, read, stored_event};
use serde_json::{Value, json};

/// Longest body that is kept here; longer ones are read all the same.
const KEEP_BYTES: usize = 512;

const SAGAS: [&str; 5] = [
    "saga: plain
version: 1
watch: [{ exchange: shop }, { exchange: keyed, keys: ['order.*', '#.x'], read: { event: 'routing_key:2', order_id: 'header:order' } }]
read: { event: /event_type, order_id: [/data/order_id, 'property:correlation_id'], id: /id }
attributes: { customer: /data/customer, tenant: 'header:tenant' }
steps:
  placed: { done: [OrderPlaced, placed] }
  paid: { after: placed, done: { event: Paid, where: 'body.data.amount > 3 && headers.kind != routing_key' }, within: 30s }
  parcels: { after: placed, done: Shipped, count: '{{ size(steps.placed.event.data.parcels) }}', by: /data/parcel }
",
    "saga: cloud
version: 1
watch: [{ exchange: shop }, { http: {} }]
read: { preset: cloudevents, order_id: ['envelope:/subject', /id] }
steps: { placed: { done: OrderPlaced }, paid: { after: placed, done: Paid, failed: { event: Paid, where: 'body.bad == true' } } }
",
    "saga: transit
version: 1
watch: [{ exchange: shop }]
read: { preset: masstransit, order_id: /orderId }
steps: { placed: { done: OrderPlaced } }
",
    "saga: bus
version: 1
watch: [{ exchange: shop }]
read: { preset: nservicebus, order_id: [/OrderId, 'envelope:/NServiceBus.ConversationId'] }
steps: { placed: { done: OrderPlaced } }
",
    "saga: arriving
version: 1
watch: [{ exchange: shop }]
read: { event: 'property:type', order_id: arrival }
steps: { placed: { done: OrderPlaced }, paid: { after: placed, done: Paid } }
",
];

fn sagas() -> &'static [Saga] {
    static PARSED: OnceLock<Vec<Saga>> = OnceLock::new();
    PARSED.get_or_init(|| {
        let parsed = |text: &&str| match parse("saga.yaml", text) {
            Ok(parsed) => parsed.saga,
            Err(findings) => panic!("{findings:?}"),
        };
        SAGAS.iter().map(parsed).collect()
    })
}

/// `kind`, routing key, message id, type, header name, header value, unreadable part; the rest is the body.
pub fn run(data: &[u8]) {
    let mut rest = data;
    let kind = super::byte(&mut rest);
    let [key, id, event_type, name, value, part] = std::array::from_fn(|_| text(super::field(&mut rest)));
    let mut envelope = Envelope::default();
    let content_type = ["", "application/json", "application/cloudevents+json", "application/cloudevents-batch+json"];
    for (property, text) in
        [("message_id", &id), ("type", &event_type), ("content_type", &content_type[usize::from(kind & 3)].to_owned())]
    {
        if !text.is_empty() {
            envelope.properties.insert(property.to_owned(), Value::from(text.as_str()));
        }
    }
    if !name.is_empty() {
        // Numbers, lists and tables come in headers too.
        let value = serde_json::from_str(&value).unwrap_or_else(|_| Value::from(value));
        envelope.headers.insert(name, value);
    }
    if !part.is_empty() {
        envelope.properties.insert(UNREADABLE.to_owned(), json!({"parts": [part], "properties": "AA=="}));
    }
    let (exchange, routing_key) = match kind >> 6 {
        0 | 1 => ("shop", key),
        2 => ("keyed", key),
        _ => ("", String::new()),
    };
    let body = rest.to_vec();
    let delivery = Delivery { exchange: exchange.to_owned(), routing_key, envelope, body, redelivered: kind & 4 != 0 };
    for saga in sagas() {
        let reading = read_one(saga, &delivery);
        assert_eq!(format!("{reading:?}"), format!("{:?}", read_one(saga, &delivery)), "read twice");
        match reading {
            Reading::Event { order, event } => check(saga, &delivery, order, *event),
            Reading::Unreadable { detail, order_id, .. } => {
                assert!(!detail.is_empty());
                assert!(order_id.is_none_or(|id| is_name(&id)));
            }
            Reading::Elsewhere | Reading::Ignored { .. } => {}
        }
    }
}

fn read_one(saga: &Saga, delivery: &Delivery) -> Reading {
    read(saga, &Message::new(delivery, [7; 16], KEEP_BYTES, None))
}

fn check(saga: &Saga, delivery: &Delivery, order: OrderRef, event: Event) {
    let order_id = match order {
        OrderRef::Id(id) => id,
        OrderRef::Arrival => "arrival-1".to_owned(),
    };
    assert!(is_name(&order_id) && is_name(&event.name), "{order_id:?} {:?}", event.name);
    assert!(!event.message.id.contains('\0') && !event.message.routing_key.contains('\0'));
    for (name, value) in &event.attributes {
        assert!(!value.to_string().contains("\\u0000"), "{name}: {value}");
    }
    let stored = event.payload.stored(&event.message);
    assert!(!stored.envelope.is_null(), "what is stored can be read");
    assert_eq!(stored_event(saga, &event.name, &stored).is_some(), stored.body.is_some());
    let retry = Outgoing {
        key: uuid::Uuid::nil(),
        order: OrderKey { saga: saga.name.clone(), order_id },
        sequence: 1,
        place: 0,
        message_id: event.message.id,
        content: Content::Retry { of: 1, to: RetryTo::Queue("q".to_owned()), attempt: 1 },
    };
    // A verdict is an answer too.
    if let Ok(sent) = publication(&retry, Some(&stored), Moment(1)) {
        // Headers that came over HTTP, or out of this program, may be what AMQP cannot say.
        let _ = to_properties(&sent.envelope);
        assert_eq!(&sent.body, &delivery.body);
    }
}

fn is_name(text: &str) -> bool {
    (1..=256).contains(&text.len()) && !text.contains('\0')
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
