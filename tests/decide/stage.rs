//! A store that is a few maps: what deciding loads, and what it changes, without a database.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use escrow::bus::{Delivery, Envelope};
use escrow::saga::batch::{Changes, Loaded, Quarantined, StoredPayload};
use escrow::saga::brake::SagaState;
use escrow::saga::catalog::Catalog;
use escrow::saga::decide::{Delivered, FromTap, Plan, Work};
use escrow::saga::definition::Mode;
use escrow::saga::journal::{EntryBody, Kind};
use escrow::saga::order::{Digest, Doubt, Order, OrderKey};
use escrow::saga::outgoing::Outgoing;
use escrow::saga::parse::parse;
use escrow::saga::time::{Moment, Span};
use escrow::worker::reading::Readings;
use escrow::worker::sight::Sight;
use serde_json::{Value, json};

pub const TAP: &str = "escrow.tap.test";

pub const START: Moment = Moment(1_767_225_600_000_000);

/// Definitions, each from its text.
pub fn catalog<'a>(texts: impl IntoIterator<Item = &'a str>) -> Catalog {
    let read = |text| match parse("test.yaml", text) {
        Ok(parsed) => Arc::new(parsed.saga),
        Err(findings) => panic!("{text}\n{findings:#?}"),
    };
    texts.into_iter().map(read).collect()
}

/// A message on an exchange, with an id of its own if one is given.
pub fn message(exchange: &str, id: Option<&str>, body: &Value) -> Delivery {
    let mut envelope = Envelope::default();
    if let Some(id) = id {
        envelope.properties.insert("message_id".to_owned(), Value::from(id));
    }
    let body = body.to_string().into_bytes();
    Delivery { exchange: exchange.to_owned(), routing_key: String::new(), envelope, body, redelivered: false }
}

/// The same, given back by the broker and delivered again.
pub fn again(delivery: &Delivery) -> Delivery {
    Delivery { redelivered: true, ..delivery.clone() }
}

/// What is stored, and the definitions it is decided with.
#[derive(Clone)]
pub struct Stage {
    pub catalog: Arc<Catalog>,
    pub now: Moment,
    pub orders: BTreeMap<OrderKey, Order>,
    pub corrupt: BTreeSet<OrderKey>,
    /// Every entry: order, kind, and its body.
    pub journal: Vec<(OrderKey, Kind, EntryBody)>,
    pub outbox: Vec<Outgoing>,
    pub quarantine: Vec<Quarantined>,
    pub doubts: Vec<Doubt>,
    pub counters: BTreeMap<String, u64>,
    pub last_batch: Vec<Digest>,
    pub watermark: Option<Moment>,
    pub answers: BTreeMap<String, u64>,
    pub states: BTreeMap<String, SagaState>,
    pub modes: BTreeMap<String, Mode>,
    stored: BTreeMap<(OrderKey, u64), StoredPayload>,
    read: u64,
}

impl Stage {
    pub fn new<'a>(texts: impl IntoIterator<Item = &'a str>) -> Self {
        Self {
            catalog: Arc::new(catalog(texts)),
            now: START,
            orders: BTreeMap::new(),
            corrupt: BTreeSet::new(),
            journal: Vec::new(),
            outbox: Vec::new(),
            quarantine: Vec::new(),
            doubts: Vec::new(),
            counters: BTreeMap::new(),
            last_batch: Vec::new(),
            watermark: None,
            answers: BTreeMap::new(),
            states: BTreeMap::new(),
            modes: BTreeMap::new(),
            stored: BTreeMap::new(),
            read: 0,
        }
    }

    /// As every saga reads it.
    pub fn read(&mut self, delivery: &Delivery) -> Delivered {
        self.read += 1;
        let (salt, lag) = (u128::from(self.read).to_be_bytes(), Some(Span::from_millis(5)));
        let read = Readings::new(1 << 20).read(&self.catalog, &Sight::default(), delivery, salt, lag);
        read.expect("somebody watches the exchange, or names the event")
    }

    pub fn plan(&self, work: Vec<Work>) -> Plan {
        Plan::of(Arc::clone(&self.catalog), work, escrow::wire::stored_event)
    }

    pub fn of_tap(&self, work: Vec<Work>, is_fresh: bool) -> Plan {
        let tap = FromTap { name: TAP.to_owned(), is_fresh, ..FromTap::default() };
        Plan { tap: Some(tap), ..self.plan(work) }
    }

    /// Reads a batch of the tap, decides and saves it.
    pub fn batch(&mut self, deliveries: &[Delivery]) -> Changes {
        let work = deliveries.iter().map(|delivery| Work::Delivered(self.read(delivery))).collect();
        let is_fresh = deliveries.iter().any(|delivery| !delivery.redelivered);
        let plan = self.of_tap(work, is_fresh);
        self.commit(&plan)
    }

    pub fn work(&mut self, work: Vec<Work>) -> Changes {
        let plan = self.plan(work);
        self.commit(&plan)
    }

    /// Decides and saves; twice, for deciding must depend on what was loaded alone.
    pub fn commit(&mut self, plan: &Plan) -> Changes {
        let loaded = self.load(plan);
        let changes = plan.decide(&loaded);
        assert_eq!(format!("{changes:?}"), format!("{:?}", plan.decide(&loaded)), "decided again, it is the same");
        self.save(&changes);
        changes
    }

    pub fn load(&self, plan: &Plan) -> Loaded {
        let lookup = plan.lookup();
        let mut loaded = Loaded {
            now: self.now,
            doubts: self.doubts.clone(),
            modes: self.modes.clone(),
            last_batch: if lookup.tap.is_some() { self.last_batch.clone() } else { Vec::new() },
            answered: lookup.idempotency_key.and_then(|key| self.answers.get(&key).copied()),
            ..Loaded::default()
        };
        for saga in &lookup.states {
            loaded.states.insert(saga.clone(), self.states.get(saga).cloned().unwrap_or_default());
        }
        for (saga, most) in &lookup.arrivals {
            let is_open = |order: &&Order| order.key.saga == *saga && !order.life.status.is_ended();
            let mut line: Vec<&Order> = self.orders.values().filter(is_open).collect();
            line.sort_by_key(|order| (order.created_at, order.key.order_id.len(), order.key.order_id.clone()));
            line.truncate(*most);
            loaded.lines.insert(saga.clone(), line.iter().map(|order| order.key.clone()).collect());
            loaded.counters.insert(saga.clone(), self.counters.get(saga).copied().unwrap_or(0));
        }
        for key in lookup.orders.iter().chain(loaded.lines.values().flatten()) {
            if self.corrupt.contains(key) {
                loaded.corrupt.insert(key.clone(), "cut off".to_owned());
            } else if let Some(order) = self.orders.get(key) {
                loaded.orders.insert(key.clone(), order.clone());
            }
        }
        let is_read = |(key, _): &&(OrderKey, u64)| {
            lookup.sagas_reading_events.contains(&key.saga) && loaded.orders.contains_key(key)
        };
        let stored = self.stored.keys().filter(is_read).map(|at| (at.clone(), self.stored[at].clone()));
        loaded.stored_events = stored.collect();
        loaded
    }

    pub fn save(&mut self, changes: &Changes) {
        for saved in &changes.orders {
            let known = self.orders.contains_key(&saved.order.key);
            assert_eq!(saved.is_new, !known, "new orders are inserted, known ones updated");
            for sealed in &saved.entries {
                let entry = &sealed.entry;
                self.journal.push((saved.order.key.clone(), entry.kind, entry.body.clone()));
            }
            self.orders.insert(saved.order.key.clone(), saved.order.clone());
        }
        for saved in &changes.payloads {
            let payload = &saved.payload;
            let entries = changes.orders.iter().filter(|it| it.order.key == saved.order).flat_map(|it| &it.entries);
            let message =
                entries.filter(|it| it.entry.sequence == saved.sequence).find_map(|it| it.entry.body.message.clone());
            let message = message.expect("a payload is that of an entry");
            self.stored.insert((saved.order.clone(), saved.sequence), payload.stored(&message));
        }
        // As the store does it: first what is withdrawn of what is there, then the new rows.
        self.outbox.retain(|row| !changes.withdrawn.contains(&row.order) || !row.content.asks());
        self.outbox.extend(changes.outbox.iter().cloned());
        for doubt in &changes.doubts {
            self.doubts.push(Doubt {
                id: i64::try_from(self.doubts.len()).unwrap(),
                kind: doubt.kind,
                saga: doubt.saga.clone(),
                from: doubt.from,
                to: doubt.to,
                event: doubt.event.clone(),
                order_id: doubt.order_id.clone(),
            });
        }
        self.quarantine.extend(changes.quarantined.iter().cloned());
        self.states.extend(changes.states.iter().map(|saved| (saved.saga.clone(), saved.state.clone())));
        self.counters.extend(changes.counters.clone());
        if let Some(tap) = &changes.tap {
            self.last_batch.clone_from(&tap.last_batch);
            self.watermark = self.watermark.max(tap.watermark);
        }
        if let (Some(key), Some(Ok(sequence))) = (&changes.idempotency_key, changes.answers.first()) {
            self.answers.insert(key.clone(), *sequence);
        }
    }

    pub fn order(&self, saga: &str, order_id: &str) -> &Order {
        self.orders.get(&key(saga, order_id)).unwrap_or_else(|| panic!("no order {saga}/{order_id}"))
    }

    /// The steps of an order and how they stand: `placed done, payment waiting`.
    pub fn steps(&self, saga: &str, order_id: &str) -> String {
        let order = self.order(saga, order_id);
        let definition = self.catalog.version(saga, order.version).expect("a known version");
        let steps = definition.steps.iter().zip(&order.steps);
        steps.map(|(step, state)| format!("{} {}", step.name, state.status.word())).collect::<Vec<_>>().join(", ")
    }

    pub fn reasons(&self) -> Vec<&'static str> {
        self.quarantine.iter().map(|it| it.reason.word()).collect()
    }
}

pub fn key(saga: &str, order_id: &str) -> OrderKey {
    OrderKey { saga: saga.to_owned(), order_id: order_id.to_owned() }
}

/// An event as the sagas of these tests write it.
pub fn event(name: &str, order: &str) -> Value {
    json!({"type": name, "order": order})
}
