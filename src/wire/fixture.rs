//! Sagas and deliveries for the tests of this folder, built by hand: the language of definitions is tested elsewhere.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::bus::{Delivery, Envelope};
use crate::saga::definition::{
    Late, Mode, OnFailure, OnTimeout, OrderIdFrom, Pattern, PatternRole, Place, Preset, Read, Role, Saga, Selector,
    Step, Watch,
};
use crate::saga::expression::Expression;
use crate::saga::input::Event;
use crate::saga::time::Span;
use crate::wire::{Message, OrderRef, Reading, read};

pub const SALT: [u8; 16] = [7; 16];
pub const KEEP_BYTES: usize = 4096;

pub fn delivery(exchange: &str, routing_key: &str) -> Delivery {
    Delivery {
        exchange: exchange.to_owned(),
        routing_key: routing_key.to_owned(),
        envelope: Envelope::default(),
        body: Vec::new(),
        redelivered: false,
    }
}

impl Delivery {
    pub fn with_body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    pub fn with_header(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.envelope.headers.insert(name.to_owned(), value.into());
        self
    }

    pub fn with_property(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.envelope.properties.insert(name.to_owned(), value.into());
        self
    }
}

/// A selector as a definition writes it.
pub fn selector(text: &str) -> Selector {
    match text.split_once(':') {
        Some(("header", name)) => Selector::Header(name.to_owned()),
        Some(("property", name)) => Selector::Property(name.to_owned()),
        Some(("envelope", pointer)) => Selector::Envelope(pointer.to_owned()),
        Some(("routing_key", word)) => Selector::RoutingKeyWord(word.parse().unwrap()),
        _ if text == "routing_key" => Selector::RoutingKey,
        _ if text == "exchange" => Selector::Exchange,
        _ => Selector::Pointer(text.to_owned()),
    }
}

pub fn selectors(texts: &[&str]) -> Vec<Selector> {
    texts.iter().map(|text| selector(text)).collect()
}

pub fn by(event: &[&str], order_id: &[&str], preset: Option<Preset>) -> Read {
    let order_id = OrderIdFrom::Message(selectors(order_id));
    Read { event: selectors(event), order_id, id: Vec::new(), preset }
}

pub fn exchange(name: &str, keys: Option<&[&str]>) -> Place {
    let keys = keys.map(|keys| keys.iter().map(|&key| key.to_owned()).collect());
    Place::Exchange { name: name.to_owned(), declare: None, keys }
}

/// A saga whose steps are each done by one event, perhaps under a condition.
pub fn saga(watch: Vec<(Place, Read)>, steps: &[(&str, &str)]) -> Saga {
    let mut saga = Saga {
        name: "order".to_owned(),
        version: 1,
        mode: Mode::Act,
        watch: watch.into_iter().map(|(place, read)| Watch { place, read }).collect(),
        attributes: Vec::new(),
        steps: Vec::new(),
        cancelled_by: Vec::new(),
        within: Span::from_secs(60),
        brake: None,
        notify: BTreeSet::new(),
        text: String::new(),
        fingerprint: [0; 32],
        roles: std::collections::BTreeMap::new(),
    };
    for (ix, (event, condition)) in steps.iter().enumerate() {
        let condition = (!condition.is_empty()).then(|| Expression::compile(condition).unwrap());
        let role = PatternRole { role: Role::Done(ix), condition: condition.clone() };
        saga.roles.entry((*event).to_owned()).or_default().push(role);
        saga.steps.push(step(&format!("step_{ix}"), Pattern { event: (*event).to_owned(), condition }));
    }
    saga
}

fn step(name: &str, done: Pattern) -> Step {
    Step {
        name: name.to_owned(),
        after: Vec::new(),
        when: Vec::new(),
        condition: None,
        done: vec![done],
        failed: Vec::new(),
        on_failure: OnFailure::Compensate,
        within: None,
        retry: None,
        on_timeout: OnTimeout::Alert,
        late: Late::Compensate,
        compensation: None,
        count: None,
        by: Vec::new(),
        handled_by: None,
    }
}

/// The saga of most tests: one exchange, plain JSON bodies.
pub fn plain() -> Saga {
    saga(vec![(exchange("shop", None), by(&["/event_type"], &["/data/order_id"], None))], &[("OrderPlaced", "")])
}

pub fn placed(order_id: &Value) -> Delivery {
    let body = json!({"event_type": "OrderPlaced", "data": {"order_id": order_id}});
    delivery("shop", "").with_body(body.to_string())
}

pub fn reading(saga: &Saga, delivery: &Delivery) -> Reading {
    read(saga, &Message::new(delivery, SALT, KEEP_BYTES, None))
}

/// The event a delivery is, with the order it names.
pub fn event(saga: &Saga, delivery: &Delivery) -> (String, Event) {
    match reading(saga, delivery) {
        Reading::Event { order: OrderRef::Id(id), event } => (id, *event),
        other => panic!("no event with an order id: {other:?}"),
    }
}

/// The word of the reading, with the reason, event and order id of what cannot be read.
pub fn outcome(saga: &Saga, delivery: &Delivery) -> String {
    match reading(saga, delivery) {
        Reading::Elsewhere => "elsewhere".to_owned(),
        Reading::Ignored { .. } => "ignored".to_owned(),
        Reading::Event { order, event } => format!("{} {order:?}", event.name),
        Reading::Unreadable { reason, event, order_id, .. } => {
            format!("{} {} {}", reason.word(), event.as_deref().unwrap_or("-"), order_id.as_deref().unwrap_or("-"))
        }
    }
}
