//! Runs recorded events through a definition in virtual time: what would Escrow have done? No server, no clock, no waiting.
//!
//! ```text
//!   recorded events ──┐
//!   due deadlines ────┼─▶ the same decision as in service ──▶ what happened, in order
//!   broker's words ───┘   (every request is taken as routed at once)
//! ```
//!
//! The watermark is always now: everything recorded up to a moment is applied before a deadline of that moment fires.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::bus::{Delivery, Envelope};
use crate::saga::batch::{Changes, Loaded, SavedOrder, Sealed, StoredPayload};
use crate::saga::catalog::Catalog;
use crate::saga::decide::{Plan, Work};
use crate::saga::definition::Saga;
use crate::saga::input::{Confirmation, Verdict};
use crate::saga::order::{Order, OrderKey};
use crate::saga::outgoing::Outgoing;
use crate::saga::time::{Moment, Span};
use crate::wire;
use crate::worker::reading::Readings;
use crate::worker::sight::Sight;

/// Bodies of recorded events are kept whole: there are few.
const BODY_KEEP_BYTES: usize = 16 << 20;

/// A definition that never comes to rest is stopped after this many happenings.
const HAPPENINGS_MAX: usize = 1_000_000;

/// One recorded event, as it stands in a line of the file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recorded {
    /// `90s` after the first event, or RFC 3339; left out: with the event before.
    #[serde(default)]
    pub at: Option<String>,
    #[serde(default)]
    pub exchange: String,
    #[serde(default)]
    pub routing_key: String,
    #[serde(default)]
    pub headers: BTreeMap<String, Value>,
    #[serde(default)]
    pub properties: BTreeMap<String, Value>,
    /// As it came; a string stands for a body that is not JSON.
    pub body: Box<RawValue>,
}

/// One entry an order's trail would have got, with what would have been published with it.
#[derive(Clone, Debug)]
pub struct Happening {
    pub key: OrderKey,
    pub entry: Sealed,
    pub sent: Vec<Outgoing>,
}

/// What a rehearsal came to.
#[derive(Debug, Default)]
pub struct Rehearsal {
    pub happenings: Vec<Happening>,
    pub orders: BTreeMap<OrderKey, Order>,
    /// Events that could not be read or placed, with the reason.
    pub quarantined: Vec<String>,
    /// Deliveries that no step names.
    pub ignored: u64,
    pub duplicates: u64,
}

/// Reads a file of recorded events: a JSON object in each line.
///
/// # Errors
/// The first line that is not one, by its number.
pub fn read_events(text: &str) -> Result<Vec<(Moment, Delivery)>, String> {
    let mut events: Vec<(Moment, Delivery)> = Vec::new();
    let mut start = Moment(0);
    for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let wrong = |why: String| format!("line {}: {why}", number + 1);
        let recorded: Recorded = serde_json::from_str(line).map_err(|error| wrong(error.to_string()))?;
        let previous = events.last().map_or(start, |(at, _)| *at);
        let at = match &recorded.at {
            None => previous,
            Some(text) => match (Span::parse(text), Moment::parse(text)) {
                (Ok(span), _) => start + span,
                (Err(_), Some(moment)) => moment,
                (Err(error), None) => return Err(wrong(error)),
            },
        };
        if events.is_empty() {
            start = at;
        }
        let delivery = Delivery {
            exchange: recorded.exchange,
            routing_key: recorded.routing_key,
            envelope: Envelope { headers: recorded.headers, properties: recorded.properties },
            body: match serde_json::from_str::<String>(recorded.body.get()) {
                Ok(text) => text.into_bytes(),
                Err(_) => recorded.body.get().as_bytes().to_vec(),
            },
            redelivered: false,
        };
        events.push((at, delivery));
    }
    events.sort_by_key(|(at, _)| *at);
    Ok(events)
}

/// Runs `events` through `saga`, and on until nothing is armed or `for_long` after the last event has passed.
pub fn rehearse(saga: Saga, events: Vec<(Moment, Delivery)>, for_long: Span) -> Rehearsal {
    let end = events.last().map_or(Moment(0), |(at, _)| *at) + for_long;
    let catalog = Arc::new([Arc::new(saga)].into_iter().collect::<Catalog>());
    let mut stage =
        Stage { catalog, stored: BTreeMap::new(), counters: BTreeMap::new(), rehearsal: Rehearsal::default() };
    let mut readings = Readings::new(BODY_KEEP_BYTES);
    for (number, (at, delivery)) in events.into_iter().enumerate() {
        stage.fire_until(at - Span(1));
        let salt = (number as u128).to_be_bytes();
        let catalog = Arc::clone(&stage.catalog);
        let read = readings.read(&catalog, &Sight::default(), &delivery, salt, Some(Span(0)));
        let work: Vec<Work> = read.into_iter().map(Work::Delivered).collect();
        if work.is_empty() {
            stage.rehearsal.ignored += 1;
        }
        stage.apply(work, at);
    }
    stage.fire_until(end);
    stage.rehearsal
}

struct Stage {
    catalog: Arc<Catalog>,
    stored: BTreeMap<(OrderKey, u64), StoredPayload>,
    counters: BTreeMap<String, u64>,
    rehearsal: Rehearsal,
}

impl Stage {
    /// Fires every deadline up to and with `until`, in their order.
    fn fire_until(&mut self, until: Moment) {
        while self.rehearsal.happenings.len() < HAPPENINGS_MAX {
            let orders = self.rehearsal.orders.values();
            let earliest = orders.filter_map(|order| Some((order.next_due()?, order.key.clone()))).min();
            let Some((at, key)) = earliest.filter(|(at, _)| *at <= until) else { return };
            self.apply(vec![Work::Due(key, at)], at);
        }
    }

    fn apply(&mut self, work: Vec<Work>, now: Moment) {
        let plan = Plan::of(Arc::clone(&self.catalog), work, wire::stored_event);
        let loaded = Loaded {
            now,
            orders: self.rehearsal.orders.clone(),
            lines: self.lines(),
            counters: self.counters.clone(),
            stored_events: self.stored.clone(),
            ..Loaded::default()
        };
        let changes = plan.decide(&loaded);
        let answers = self.keep(changes);
        if !answers.is_empty() {
            self.apply(answers, now);
        }
    }

    fn lines(&self) -> BTreeMap<String, Vec<OrderKey>> {
        let mut lines: BTreeMap<String, Vec<&Order>> = BTreeMap::new();
        for order in self.rehearsal.orders.values().filter(|order| !order.life.status.is_ended()) {
            lines.entry(order.key.saga.clone()).or_default().push(order);
        }
        lines
            .into_iter()
            .map(|(saga, mut orders)| {
                // At one moment `arrival-9` is before `arrival-10`.
                orders.sort_by_key(|order| (order.created_at, order.key.order_id.len(), order.key.order_id.clone()));
                (saga, orders.into_iter().map(|order| order.key.clone()).collect())
            })
            .collect()
    }

    /// Keeps what a batch changed; answers the broker's words on what it asked for.
    fn keep(&mut self, changes: Changes) -> Vec<Work> {
        for saved in &changes.payloads {
            let key = (saved.order.clone(), saved.sequence);
            if let Some(stored) = stored_payload(&changes.orders, &key, saved) {
                self.stored.insert(key, stored);
            }
        }
        self.counters.extend(changes.counters);
        self.rehearsal.duplicates += changes.tally.duplicate;
        self.rehearsal.ignored += changes.tally.ignored;
        let quarantined = changes.quarantined.iter();
        self.rehearsal.quarantined.extend(quarantined.map(|it| {
            format!(
                "{}: {}{}",
                it.reason.word(),
                it.detail,
                it.event.as_ref().map_or(String::new(), |event| format!(" ({event})"))
            )
        }));
        for saved in changes.orders {
            for entry in saved.entries {
                let sequence = entry.entry.sequence;
                let belongs = |row: &&Outgoing| row.order == saved.order.key && row.sequence == sequence;
                let sent = changes.outbox.iter().filter(belongs).cloned().collect();
                self.rehearsal.happenings.push(Happening { key: saved.order.key.clone(), entry, sent });
            }
            self.rehearsal.orders.insert(saved.order.key.clone(), saved.order);
        }
        let asked = changes.outbox.into_iter().filter(|row| row.content.asks());
        asked
            .map(|row| Work::Settled {
                order: row.order,
                confirmation: Confirmation { key: row.key, verdict: Verdict::Routed },
                is_input: true,
            })
            .collect()
    }
}

fn stored_payload(
    orders: &[SavedOrder],
    key: &(OrderKey, u64),
    saved: &crate::saga::batch::SavedPayload,
) -> Option<StoredPayload> {
    let order = orders.iter().find(|order| order.order.key == key.0)?;
    let entry = order.entries.iter().find(|entry| entry.entry.sequence == key.1)?;
    let message = entry.entry.body.message.as_ref()?;
    Some(saved.payload.stored(message))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::saga::order::Status;
    use crate::saga::parse::parse;

    const SAGA: &str = r#"
saga: shop
version: 1
watch: [{ exchange: shop }]
read: { event: routing_key, order_id: /id }
steps:
  placed: { done: placed }
  paid: { after: placed, done: paid, within: 30s, on_timeout: compensate,
          compensation: { publish: { event: Refund, exchange: shop, routing_key: refund, body: { id: "{{ order_id }}", at: "{{ steps.placed.event.when }}" } } } }
"#;

    fn run(events: &str) -> Rehearsal {
        let saga = parse("shop.yaml", SAGA).map_err(|findings| format!("{findings:?}")).unwrap().saga;
        rehearse(saga, read_events(events).unwrap(), Span::from_secs(3600))
    }

    #[test]
    fn a_silent_step_times_out_and_is_undone() {
        let rehearsal = run(r#"{"at":"0s","exchange":"shop","routing_key":"placed","body":{"id":1,"when":"noon"}}"#);
        let kinds: Vec<_> = rehearsal.happenings.iter().map(|it| it.entry.entry.kind.word()).collect();
        assert_eq!(kinds, ["event", "deadline", "compensation", "confirmation"]);
        let order = rehearsal.orders.values().next().unwrap();
        assert_eq!(order.life.status, Status::Compensated);
        let body = format!("{:?}", rehearsal.happenings[2].sent[0].content);
        assert!(body.contains("noon"), "the template read the stored event: {body}");
    }

    #[test]
    fn an_answer_in_time_completes_the_order() {
        let rehearsal = run(concat!(
            r#"{"at":"0s","exchange":"shop","routing_key":"placed","body":{"id":1,"when":"noon"}}"#,
            "\n",
            r#"{"at":"30s","exchange":"shop","routing_key":"paid","body":{"id":1}}"#,
            "\n",
            r#"{"exchange":"shop","routing_key":"chatter","body":{}}"#,
        ));
        assert_eq!(rehearsal.orders.values().next().unwrap().life.status, Status::Completed);
        assert_eq!(rehearsal.ignored, 1);
    }

    #[test]
    fn a_line_that_is_no_event_is_named_by_its_number() {
        assert!(read_events("{\"body\":{}}\nnothing").unwrap_err().starts_with("line 2:"));
    }
}
