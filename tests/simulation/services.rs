//! The services: they answer, late, twice, or not at all; they fail and think again; they hear what Escrow asks of them.

use escrow::bus::{Envelope, Item};
use escrow::saga::definition::{Saga, Within};
use escrow::saga::outgoing::Content;

use serde_json::{Value, json};
use std::sync::Arc;
use uuid::Uuid;

use crate::bus::delivery;
use crate::check::tap::UID;
use crate::definitions::{EXCHANGES, LINE};
use crate::model::{Message, Uid};
use crate::world::{Act, World};

/// One order, as the services know it.
pub struct Customer {
    pub id: String,
    pub is_line: bool,
    started: Vec<bool>,
    done: Vec<bool>,
    parts: usize,
}

/// What a service says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    Done,
    Failed,
    Undone,
    UndoFailed,
}

/// Something happens outside Escrow.
pub fn perform(world: &mut World, act: &Act) {
    match *act {
        Act::Place { line } => place(world, line),
        Act::Trigger { order, step } => {
            let name = world.flows[0].saga.steps[step].name.clone();
            say(world, order, &format!("{name}Needed"), EXCHANGES[0], None);
            start(world, order, step);
        }
        Act::Answer { order, step, answer } => give_answer(world, order, step, answer),
        Act::Cancel { order } => say(world, order, "Cancelled", EXCHANGES[0], None),
        Act::Publish(uid) => publish(world, uid),
        Act::Fault(_) | Act::Operate => {}
    }
}

fn saga_of(world: &World, is_line: bool) -> Arc<Saga> {
    let flow = world.flows.iter().find(|flow| (flow.saga.name == LINE) == is_line).unwrap_or(&world.flows[0]);
    Arc::clone(&flow.saga)
}

fn place(world: &mut World, line: bool) {
    let is_line = line && world.flows.iter().any(|flow| flow.saga.name == LINE);
    let saga = saga_of(world, is_line);
    let number = world.customers.len();
    let id = if is_line { format!("l{number}") } else { format!("o{number}") };
    let steps = saga.steps.len();
    let parts = world.chance.below(4);
    world.customers.push(Customer { id, is_line, started: vec![false; steps], done: vec![false; steps], parts });
    world.count("orders");
    give_answer(world, number, 0, Answer::Done);
    for step in 1..steps {
        if !saga.steps[step].when.is_empty() && world.chance.percent(45) {
            world.after_ms(0, 40_000, Act::Trigger { order: number, step });
        }
    }
    if !is_line && world.chance.percent(7) {
        world.after_ms(0, 60_000, Act::Cancel { order: number });
    }
}

fn give_answer(world: &mut World, order: usize, step: usize, answer: Answer) {
    let is_line = world.customers[order].is_line;
    let saga = saga_of(world, is_line);
    let name = saga.steps[step].name.clone();
    let exchange = if is_line { EXCHANGES[0] } else { world.flows[0].exchange(step) };
    match answer {
        Answer::Done if is_line => {
            let event = saga.steps[step].done[0].event.clone();
            say(world, order, &event, exchange, None);
        }
        Answer::Done if saga.steps[step].count.is_some() => {
            for part in 0..world.customers[order].parts {
                say(world, order, &format!("{name}Done"), exchange, Some(part));
            }
        }
        Answer::Done => say(world, order, &format!("{name}Done"), exchange, None),
        Answer::Failed => say(world, order, &format!("{name}Failed"), exchange, None),
        Answer::Undone => say(world, order, &format!("{name}Undone"), exchange, None),
        Answer::UndoFailed => say(world, order, &format!("{name}UndoFailed"), exchange, None),
    }
    if answer == Answer::Done {
        world.customers[order].done[step] = true;
        go_on(world, order, &saga);
    }
}

/// Whoever listens to what has happened begins.
fn go_on(world: &mut World, order: usize, saga: &Saga) {
    for step in 1..saga.steps.len() {
        let customer = &world.customers[order];
        let ready = saga.steps[step].when.is_empty()
            && saga.steps[step].after.iter().all(|&before| {
                customer.done[before] || (!saga.steps[before].when.is_empty() && !customer.started[before])
            });
        if ready {
            start(world, order, step);
        }
    }
}

/// A service takes up its step.
fn start(world: &mut World, order: usize, step: usize) {
    if std::mem::replace(&mut world.customers[order].started[step], true) {
        return;
    }
    let saga = saga_of(world, world.customers[order].is_line);
    let within = match &saga.steps[step].within {
        Some(Within::Fixed(span)) => span.0 / 1000,
        Some(Within::Computed(_)) | None => 10_000,
    };
    let answer = |answer| Act::Answer { order, step, answer };
    if world.dead.is_some_and(|(dead, until)| dead == step && world.now() < until) {
        // It was dead when it should have heard, and never will.
        return;
    }
    if world.slow && world.chance.percent(25) {
        // It fails, and thinks again at once: both are on their way when the first is decided about (rule 7).
        let at = world.chance.between(50, within);
        world.after_ms(at, at + 100, answer(Answer::Failed));
        return world.after_ms(at, at + 2_500, answer(Answer::Done));
    }
    match world.chance.below(100) {
        0..58 => world.after_ms(50, 5_000, answer(Answer::Done)),
        58..68 => world.after_ms(within * 8 / 10, within * 12 / 10, answer(Answer::Done)),
        68..73 => world.after_ms(within, within * 4, answer(Answer::Done)),
        73..78 => {
            world.after_ms(50, within, answer(Answer::Done));
            world.after_ms(50, within * 2, answer(Answer::Done));
        }
        78..85 => world.after_ms(50, within, answer(Answer::Failed)),
        85..94 => {
            let at = world.chance.between(50, within);
            world.after_ms(at, at + 300, answer(Answer::Failed));
            world.after_ms(at, at + 300, answer(Answer::Done));
        }
        _ => {}
    }
}

/// A service publishes: not at once everywhere, and now and then twice.
fn say(world: &mut World, order: usize, event: &str, exchange: &'static str, part: Option<usize>) {
    let (id, is_line, parts) = {
        let customer = &world.customers[order];
        (customer.id.clone(), customer.is_line, customer.parts)
    };
    let idless = !is_line && world.flows[0].idless && world.chance.percent(60);
    let uid = world.model.messages.len();
    let malformed = !is_line && world.trouble > 2 && world.chance.per_mille(8);
    let mut body = json!({"type": event, "order": id, "n": uid, "part": part, "parts": vec![0; parts]});
    if is_line || malformed {
        body["order"] = Value::Null;
    }
    let garbage = malformed && world.chance.percent(30);
    let body = if garbage { format!("no JSON {uid}").into_bytes() } else { body.to_string().into_bytes() };
    let message_id = (!idless).then(|| format!("m{uid}"));
    world.model.add(Message {
        order: id,
        event: event.to_owned(),
        exchange,
        id: message_id,
        body,
        malformed,
        garbage,
        is_line,
        enqueued_at: None,
        alive: 0,
        lost_at: None,
    });
    world.count("events");
    let slow = world.chance.percent(10);
    world.after_ms(0, if slow { 4_000 } else { 200 }, Act::Publish(uid));
    if !idless && !is_line && world.chance.percent(5) {
        world.count("fault: published twice");
        world.after_ms(0, 20_000, Act::Publish(uid));
    }
}

/// The message reaches its exchange, and the tap where that is bound.
fn publish(world: &mut World, uid: Uid) {
    let message = world.model.messages[uid].clone();
    let exchange = &world.broker.exchanges[message.exchange];
    if !world.broker.up || !exchange.present {
        // The publisher sees an error, and tries again.
        return world.after_ms(500, 3_000, Act::Publish(uid));
    }
    world.trace.note(format_args!("published {uid} {} {}", message.order, message.event));
    if !world.broker.is_bound(message.exchange) {
        let now = world.now();
        let message = &mut world.model.messages[uid];
        message.lost_at.get_or_insert(now);
        world.count("fault: published where nobody is bound");
        return;
    }
    let mut envelope = Envelope::default();
    envelope.headers.insert(UID.to_owned(), Value::from(uid));
    if let Some(id) = &message.id {
        envelope.properties.insert("message_id".to_owned(), Value::from(id.as_str()));
    }
    let now = world.now();
    let item = Item::Delivery(delivery(message.exchange, "", envelope, message.body));
    let dropped = world.broker.enqueue(&mut world.model, now, item, Some(uid));
    *world.counts.entry("fault: dropped by the bound").or_default() += u64::from(dropped);
}

/// What Escrow asked reached the service of the step.
pub fn hear(world: &mut World, key: Uuid) {
    let Some(row) = world.judge.rows.get(&key) else { return };
    let (content, step, order_key) = (row.outgoing.content.clone(), row.step, row.outgoing.order.clone());
    let Some(step) = step else { return };
    let Some(order) = world.customers.iter().position(|customer| customer.id == order_key.order_id) else { return };
    let answer = |answer| Act::Answer { order, step, answer };
    match content {
        Content::Telling { .. } => {}
        Content::Retry { .. } => {
            world.count("retries heard");
            if !world.customers[order].done[step] && world.chance.percent(60) {
                world.after_ms(50, 6_000, answer(Answer::Done));
            }
        }
        Content::Compensation { .. } => {
            world.count("compensations heard");
            match world.chance.below(100) {
                0..76 => world.after_ms(50, 6_000, answer(Answer::Undone)),
                76..84 => world.after_ms(50, 6_000, answer(Answer::UndoFailed)),
                84..90 => world.after_ms(5_000, 40_000, answer(Answer::Undone)),
                _ => {}
            }
        }
    }
}

/// How long the services go on taking orders.
pub fn open_shop(world: &mut World, for_ms: i64) {
    let orders = world.chance.between(4, 14);
    // All at once: what waits in the tap is behind what else waits there.
    let within_ms = if world.chance.percent(35) { 5_000 } else { for_ms };
    for _ in 0..orders {
        let line = world.chance.percent(25);
        world.after_ms(0, within_ms, Act::Place { line });
    }
    let asks = world.chance.between(0, 10);
    for _ in 0..asks {
        world.after_ms(0, for_ms, Act::Operate);
    }
}
