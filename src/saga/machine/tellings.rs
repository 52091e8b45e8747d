//! What Escrow publishes about an order, and what expressions see of it.
//!
//! Tellings are CloudEvents on Escrow's own exchange with the order's progress as data. They need no listener; only what asks
//! something of a service must be routed.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use crate::saga::cloudevent;
use crate::saga::definition::{StepIx, Telling};
use crate::saga::expression::Scope;
use crate::saga::order::{StepStatus, rank};
use crate::saga::outgoing::{Content, derived_id};

use super::Machine;

/// Every name an expression may see.
pub const SCOPE_NAMES: [&str; 8] = ["order_id", "saga", "step", "reason", "attempt", "now", "attributes", "steps"];

impl Machine<'_> {
    /// Says something with the next entry, unless the definition leaves it out.
    pub(super) fn tell(&mut self, telling: Telling, step: Option<StepIx>) {
        if self.saga.notify.contains(&telling) {
            self.tellings.push((telling, step));
        }
    }

    /// Publishes what is to be told, with the order as the entry leaves it. Two steps may recover by one event, so the id of what
    /// is told about a step has the step in it.
    pub(super) fn send_tellings(&mut self) {
        for (telling, step) in std::mem::take(&mut self.tellings) {
            let word = telling.word();
            let about = step.map_or("", |step| self.saga.steps[step].name.as_str());
            let (kind, routing_key) = match step {
                Some(_) => (format!("escrow.step.{word}"), format!("{}.{about}.{word}", self.saga.name)),
                None => (format!("escrow.order.{word}"), format!("{}.{word}", self.saga.name)),
            };
            let key = &self.order.key;
            let sequence = self.sequence().to_string();
            let id = derived_id(&[&key.saga, &key.order_id, &sequence, &kind, about]).to_string();
            let body = self.cloud_event(&id, &kind, step);
            self.send(id, Content::Telling { routing_key, body });
        }
    }

    /// A CloudEvent about this order with its progress as data.
    pub(super) fn cloud_event(&self, id: &str, kind: &str, step: Option<StepIx>) -> Value {
        let key = &self.order.key;
        cloudevent::body(&key.saga, id, kind, &key.order_id, self.with.now, &self.progress(step))
    }

    fn progress(&self, step: Option<StepIx>) -> Value {
        let steps: Map<String, Value> = self
            .saga
            .steps
            .iter()
            .zip(&self.order.steps)
            .map(|(definition, state)| (definition.name.clone(), Value::from(state.status.word())))
            .collect();
        let mut data = json!({
            "saga": self.order.key.saga, "order_id": self.order.key.order_id, "version": self.order.version,
            "status": self.order.life.status.word(), "steps": steps,
        });
        if let Some(step) = step {
            data["step"] = self.saga.steps[step].name.clone().into();
            data["attempt"] = self.attempt(step).into();
        }
        if let Some(turn) = &self.order.life.turn {
            data["reason"] = turn.reason.clone().into();
        } else if let Some(need) = self.order.first_need() {
            data["reason"] = need.reason.word().into();
        }
        data
    }

    /// Which sending it is: of the compensation if one is under way, else of the retry.
    fn attempt(&self, step: StepIx) -> u32 {
        let state = &self.order.steps[step];
        if state.undo.round > 0 { state.undo.attempts } else { state.attempts }
    }

    /// What a compensation's templates see.
    pub(super) fn scope(&self, step: StepIx) -> Scope {
        let all = |_: StepIx| true;
        SCOPE_NAMES.into_iter().map(|name| (name, self.scope_value(name, step, &all))).collect()
    }

    /// What `if`, `count` and `within` see: the root events and the steps they come after, nothing else, so that what they say
    /// does not hang on what else has arrived. Only the names in `wanted` are built.
    pub(super) fn opening_scope(&self, step: StepIx, wanted: &BTreeSet<String>) -> Scope {
        let before = self.saga.ancestors(step);
        let visible = |at: StepIx| before.contains(&at) || self.saga.is_root(at);
        let names = SCOPE_NAMES.into_iter().filter(|name| wanted.contains(*name));
        names.map(|name| (name, self.scope_value(name, step, &visible))).collect()
    }

    fn scope_value(&self, name: &str, step: StepIx, visible: &dyn Fn(StepIx) -> bool) -> Value {
        match name {
            "order_id" => self.order.key.order_id.clone().into(),
            "saga" => self.saga.name.clone().into(),
            "step" => self.saga.steps[step].name.clone().into(),
            "reason" => self.order.life.turn.as_ref().map(|turn| turn.reason.clone()).into(),
            "attempt" => self.attempt(step).into(),
            "now" => self.with.now.rfc3339().into(),
            "attributes" => self
                .order
                .attributes
                .iter()
                .filter(|(_, it)| rank::step(it.rank).is_none_or(visible))
                .map(|(name, it)| (name.clone(), it.value.clone()))
                .collect::<Map<_, _>>()
                .into(),
            _ => self.finished_steps(visible).into(),
        }
    }

    /// `steps.NAME` for each finished step: `event`, `events`, `headers`, `at`. What was erased, or was too large to keep, is
    /// missing, so that reading it fails instead of giving nothing.
    fn finished_steps(&self, visible: &dyn Fn(StepIx) -> bool) -> Map<String, Value> {
        let steps = self.saga.steps.iter().zip(&self.order.steps).enumerate();
        let finished = steps.filter(|(step, _)| visible(*step)).filter_map(|(_, (definition, state))| {
            let is_finished = state.status == StepStatus::Done || state.undo.dones > 0;
            let sighting = state.event.as_ref().filter(|_| is_finished)?;
            let mut step = Map::new();
            step.insert("at".to_owned(), sighting.at.rfc3339().into());
            if let Some(view) = self.stored.get(&sighting.sequence) {
                step.insert("event".to_owned(), view["body"].clone());
                step.insert("headers".to_owned(), view["headers"].clone());
            }
            let parts: Option<Vec<Value>> = if state.parts.is_empty() {
                step.get("event").map(|event| vec![event.clone()])
            } else {
                state.parts.values().map(|sequence| Some(self.stored.get(sequence)?["body"].clone())).collect()
            };
            if let Some(events) = parts {
                step.insert("events".to_owned(), events.into());
            }
            Some((definition.name.clone(), Value::Object(step)))
        });
        finished.collect()
    }
}
