//! One saga, its orders and its journal, as plain values.

use serde_json::json;

use crate::saga::definition::{
    Cadence, Compensation, Late, Mode, OnFailure, OnTimeout, Pattern, PatternRole, Publish, Retry, RetryTo, Role, Saga,
    Step, Within,
};
use crate::saga::input::MessageRef;
use crate::saga::journal::{Began, EntryBody, Kind, StepChange};
use crate::saga::order::{Attribute, Order, OrderKey, Sighting, StepState, StepStatus};
use crate::saga::time::{Moment, Span};
use crate::store::JournalRow;

/// 2026-11-21T09:30:00Z
pub const NOW: Moment = Moment(1_795_253_400_000_000);

pub const PLACED: usize = 0;
pub const PAYMENT: usize = 1;
pub const INVENTORY: usize = 2;
pub const NOTIFICATION: usize = 3;

pub fn ago(seconds: i64) -> Moment {
    NOW - Span::from_secs(seconds)
}

pub fn ahead(seconds: i64) -> Moment {
    NOW + Span::from_secs(seconds)
}

pub fn seen(name: &str, at: Moment) -> Sighting {
    Sighting { sequence: 1, name: name.to_owned(), at }
}

fn patterns(events: &[&str]) -> Vec<Pattern> {
    events.iter().map(|event| Pattern { event: (*event).to_owned(), condition: None }).collect()
}

fn step(name: &str, after: &[usize], done: &str, within_s: i64) -> Step {
    Step {
        name: name.to_owned(),
        after: after.to_vec(),
        when: Vec::new(),
        condition: None,
        done: patterns(&[done]),
        failed: Vec::new(),
        on_failure: OnFailure::Compensate,
        within: (within_s > 0).then(|| Within::Fixed(Span::from_secs(within_s))),
        retry: None,
        on_timeout: OnTimeout::Alert,
        late: Late::Compensate,
        compensation: None,
        count: None,
        by: Vec::new(),
        handled_by: None,
    }
}

fn compensation(event: &str, done: &str) -> Compensation {
    let publish = Publish {
        event: event.to_owned(),
        exchange: None,
        routing_key: None,
        headers: Vec::new(),
        properties: Vec::new(),
        body: None,
    };
    Compensation {
        publish: Some(publish),
        done: patterns(if done.is_empty() { &[] } else { std::slice::from_ref(&done) }),
        failed: Vec::new(),
        within: Some(Span::from_secs(300)),
        retry: None,
        handled_by: None,
    }
}

/// placed → payment, inventory (retried, then compensate) → notification (skipped on timeout).
pub fn saga() -> Saga {
    let mut payment = step("payment", &[PLACED], "PaymentProcessed", 30);
    payment.failed = patterns(&["PaymentDeclined"]);
    payment.compensation = Some(compensation("RefundPayment", "PaymentRefunded"));
    let mut inventory = step("inventory", &[PLACED], "InventoryReserved", 60);
    inventory.on_timeout = OnTimeout::Compensate;
    inventory.compensation = Some(compensation("ReleaseInventory", ""));
    let cadence = Cadence { times: 3, every: Span::from_secs(20), backoff: 1.0 };
    inventory.retry = Some(Retry { cadence, to: RetryTo::Queue("inventory".to_owned()), message: None });
    let mut notification = step("notification", &[INVENTORY], "NotificationSent", 60);
    notification.on_timeout = OnTimeout::Skip;
    Saga {
        name: "order".to_owned(),
        version: 1,
        mode: Mode::Act,
        watch: Vec::new(),
        attributes: vec![("customer".to_owned(), Vec::new())],
        steps: vec![step("placed", &[], "OrderPlaced", 0), payment, inventory, notification],
        cancelled_by: patterns(&["OrderCancelled"]),
        within: Span::from_secs(86_400),
        brake: None,
        notify: std::collections::BTreeSet::new(),
        text: "saga: order\n".to_owned(),
        fingerprint: [7; 32],
        roles: [("PaymentProcessed".to_owned(), vec![PatternRole { role: Role::Done(PAYMENT), condition: None }])]
            .into(),
    }
}

pub fn key(order_id: &str) -> OrderKey {
    OrderKey { saga: "order".to_owned(), order_id: order_id.to_owned() }
}

/// Placed 42 s ago and paid; inventory waits since 42 s with 18 s left.
pub fn order(order_id: &str) -> Order {
    let mut order = Order::begin(key(order_id), 1, 4, ago(42));
    let done = |name: &str, at: Moment| StepState {
        status: StepStatus::Done,
        opened_at: Some(ago(42)),
        closed_at: Some(at),
        event: Some(seen(name, at)),
        ..StepState::default()
    };
    order.steps[PLACED] = done("OrderPlaced", ago(42));
    order.steps[PAYMENT] = done("PaymentProcessed", ago(40));
    order.steps[INVENTORY] = StepState {
        status: StepStatus::Waiting,
        opened_at: Some(ago(42)),
        deadline: Some(ahead(18)),
        ..StepState::default()
    };
    order.life.deadline = Some(ahead(86_000));
    order.sequence = 2;
    let customer = Attribute { value: json!("John Doe"), sequence: 1, rank: 0 };
    order.attributes.insert("customer".to_owned(), customer);
    order
}

/// A journal entry at `position`: event `name` took `step` from waiting to done.
pub fn journal_row(position: i64, order_id: &str, sequence: u64, name: &str, step: usize) -> JournalRow {
    let now = StepState { status: StepStatus::Done, ..StepState::default() };
    let body = EntryBody {
        name: Some(name.to_owned()),
        step: Some(step),
        message: Some(MessageRef {
            id: format!("m{position}"),
            exchange: "order_exchange".to_owned(),
            routing_key: String::new(),
            source: None,
            timestamp: None,
        }),
        began: (sequence == 1).then_some(Began { version: 1, steps: 4 }),
        steps: vec![StepChange { step, from: StepStatus::Waiting, now }],
        ..EntryBody::default()
    };
    JournalRow {
        position,
        key: key(order_id),
        sequence,
        at: ago(60 - position),
        kind: Kind::Event,
        actor: None,
        text: serde_json::to_string(&body).unwrap(),
        hash: [1; 32],
        version: 1,
    }
}
