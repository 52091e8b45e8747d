//! Orders by hand: what the machine would have saved, without the machine.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use escrow::saga::batch::{Changes, Loaded, Lookup, SavedOrder, SavedPayload, Sealed};
use escrow::saga::input::{MessageRef, Payload};
use escrow::saga::journal::{self, AttributeChange, Began, Entry, EntryBody, Kind, LifeChange, StepChange};
use escrow::saga::order::{Attribute, Order, OrderKey, StepStatus};
use escrow::saga::outgoing::{Content, Outgoing};
use escrow::saga::time::Moment;
use escrow::store::{Committed, Store, StoreError};
use serde_json::{Value, json};
use sha2::Digest as _;
use uuid::Uuid;

pub const STEPS: [&str; 3] = ["placed", "payment", "inventory"];
pub const SALT: [u8; 16] = [7; 16];

pub fn key(id: &str) -> OrderKey {
    of("order", id)
}

pub fn of(saga: &str, id: &str) -> OrderKey {
    OrderKey { saga: saga.to_owned(), order_id: id.to_owned() }
}

pub fn step_names() -> Arc<[String]> {
    STEPS.map(str::to_owned).into()
}

/// Changes `order` and seals the entry that says so.
pub fn record(
    order: &mut Order,
    at: Moment,
    kind: Kind,
    mut body: EntryBody,
    change: impl FnOnce(&mut Order),
) -> Sealed {
    let before = order.clone();
    change(order);
    order.sequence += 1;
    order.updated_at = at;
    if order.sequence == 1 {
        order.created_at = at;
        body.began = Some(Began { version: order.version, steps: order.steps.len() });
    }
    let changed = |(step, (was, now)): (usize, (&escrow::saga::order::StepState, &escrow::saga::order::StepState))| {
        (was != now).then(|| StepChange { step, from: was.status, now: now.clone() })
    };
    body.steps = before.steps.iter().zip(&order.steps).enumerate().filter_map(changed).collect();
    if before.life != order.life {
        body.life = Some(Box::new(LifeChange { from: before.life.status, now: order.life.clone() }));
    }
    for (name, attribute) in &mut order.attributes {
        if before.attributes.get(name) != Some(attribute) {
            attribute.sequence = order.sequence;
            let hash = journal::attribute_hash(&SALT, name, &attribute.value);
            body.attributes.push(AttributeChange { name: name.clone(), rank: attribute.rank, hash });
        }
    }
    let actor = (kind == Kind::Command).then(|| "ada".to_owned());
    let text = serde_json::to_string(&body).unwrap();
    let hash = journal::chain(&before.head, &order.key, order.sequence, at, kind, actor.as_deref(), &text);
    order.head = hash;
    Sealed { entry: Entry { sequence: order.sequence, at, kind, actor, body }, text, hash }
}

/// The body of an entry about `message`.
pub fn event(payload: &Payload) -> EntryBody {
    EntryBody {
        name: Some("OrderPlaced".to_owned()),
        message: Some(MessageRef {
            id: "m-1".to_owned(),
            exchange: "orders".to_owned(),
            routing_key: "placed".to_owned(),
            source: None,
            timestamp: None,
        }),
        payload_hash: Some(journal::hex(&payload.salted_hash())),
        ..EntryBody::default()
    }
}

pub fn payload(body: &Value) -> Payload {
    let bytes = body.to_string().into_bytes();
    let body_hash = sha2::Sha256::digest(&bytes).into();
    Payload { salt: SALT, body: Some(bytes), body_hash, envelope: r#"{"headers":{"kind":"test"}}"#.to_owned() }
}

/// An order with its root done and the second step waiting since `now`.
pub fn begun(key: &OrderKey, now: Moment, change: impl FnOnce(&mut Order)) -> (SavedOrder, SavedPayload) {
    let payload = payload(&json!({ "id": key.order_id }));
    let mut order = Order::begin(key.clone(), 1, STEPS.len(), now);
    let sealed = record(&mut order, now, Kind::Event, event(&payload), |order| {
        order.steps[0].status = StepStatus::Done;
        order.steps[0].closed_at = Some(now);
        order.steps[1].status = StepStatus::Waiting;
        order.steps[1].opened_at = Some(now);
        change(order);
    });
    let stored = SavedPayload { order: key.clone(), sequence: 1, payload: Arc::new(payload) };
    let attributes_changed = !order.attributes.is_empty();
    let saved = SavedOrder { order, step_names: step_names(), entries: vec![sealed], is_new: true, attributes_changed };
    (saved, stored)
}

/// One more entry on a loaded order.
pub fn changed(order: &Order, at: Moment, kind: Kind, change: impl FnOnce(&mut Order)) -> SavedOrder {
    let mut order = order.clone();
    let attributes = order.attributes.clone();
    let sealed = record(&mut order, at, kind, EntryBody::default(), change);
    let attributes_changed = order.attributes != attributes;
    SavedOrder { order, step_names: step_names(), entries: vec![sealed], is_new: false, attributes_changed }
}

pub fn attribute(value: Value) -> Attribute {
    Attribute { value, sequence: 1, rank: 0 }
}

pub fn telling(order: &OrderKey, sequence: u64, place: u32) -> Outgoing {
    let content = Content::Telling { routing_key: "order.stuck".to_owned(), body: json!({ "nul": "\0" }) };
    outgoing(order, sequence, place, content)
}

pub fn outgoing(order: &OrderKey, sequence: u64, place: u32, content: Content) -> Outgoing {
    let message_id = Uuid::new_v4().to_string();
    Outgoing { key: Uuid::new_v4(), order: order.clone(), sequence, place, message_id, content }
}

pub fn lookup(keys: impl IntoIterator<Item = OrderKey>) -> Lookup {
    Lookup { orders: keys.into_iter().collect::<BTreeSet<_>>(), ..Lookup::default() }
}

pub async fn apply(
    store: &dyn Store,
    lookup: Lookup,
    decide: impl Fn(&Loaded) -> Changes + Send + Sync + 'static,
) -> Result<Committed, StoreError> {
    store.apply(lookup, Arc::new(decide)).await
}

/// What is done to an order at the moment it begins.
pub type Change = Box<dyn Fn(&mut Order, Moment) + Send + Sync>;

/// Begins these orders in one batch, each changed as given.
pub async fn begin(store: &dyn Store, orders: Vec<(OrderKey, Change)>) {
    let wanted = lookup(orders.iter().map(|(key, _)| key.clone()));
    apply(store, wanted, move |loaded| {
        let made = orders.iter().map(|(key, change)| begun(key, loaded.now, |order| change(order, loaded.now)));
        let (orders, payloads) = made.unzip();
        Changes { orders, payloads, ..Changes::default() }
    })
    .await
    .unwrap();
}

/// Begins one order.
pub async fn begin_one(store: &dyn Store, key: OrderKey, change: impl Fn(&mut Order, Moment) + Send + Sync + 'static) {
    begin(store, vec![(key, Box::new(change))]).await;
}

/// Adds one entry to an order that is there.
pub async fn change(store: &dyn Store, key: OrderKey, kind: Kind, change: impl Fn(&mut Order) + Send + Sync + 'static) {
    apply(store, lookup([key.clone()]), move |loaded| {
        let saved = changed(&loaded.orders[&key], loaded.now, kind, &change);
        Changes { orders: vec![saved], ..Changes::default() }
    })
    .await
    .unwrap();
}

/// Saves outbox rows alone.
pub async fn send(store: &dyn Store, outbox: Vec<Outgoing>) {
    let changes = move |_: &Loaded| Changes { outbox: outbox.clone(), ..Changes::default() };
    apply(store, Lookup::default(), changes).await.unwrap();
}

/// A watermark for the saga `order`.
pub fn watermark(at: Moment) -> BTreeMap<String, Moment> {
    BTreeMap::from([("order".to_owned(), at)])
}
