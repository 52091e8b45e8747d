//! What Escrow publishes about an order, and what expressions see of it.
//!
//! Tellings are CloudEvents on Escrow's own exchange with the order's progress as data. They need no listener; only what asks
//! something of a service must be routed.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use crate::saga::cloudevent;
use crate::saga::definition::{StepIx, Telling};
use crate::saga::expression::Scope;
use crate::saga::order::StepStatus;
use crate::saga::outgoing::{Content, derived_id};

use super::Machine;

/// Every name an expression may see.
pub const SCOPE_NAMES: [&str; 8] = ["order_id", "saga", "step", "reason", "attempt", "now", "attributes", "steps"];

impl Machine<'_> {
    /// Publishes a telling, unless the definition leaves it out.
    pub(super) fn tell(&mut self, telling: Telling, step: Option<StepIx>) {
        if !self.saga.notify.contains(&telling) {
            return;
        }
        let word = telling.word();
        let (kind, routing_key) = match step {
            Some(step) => {
                (format!("escrow.step.{word}"), format!("{}.{}.{word}", self.saga.name, self.saga.steps[step].name))
            }
            None => (format!("escrow.order.{word}"), format!("{}.{word}", self.saga.name)),
        };
        let key = &self.order.key;
        let id = derived_id(&[&key.saga, &key.order_id, &self.sequence().to_string(), &routing_key]).to_string();
        let body = self.cloud_event(&id, &kind, step);
        self.send(id, Content::Telling { routing_key, body });
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

    /// What expressions see: only the names in `wanted` are built.
    pub(super) fn scope(&self, step: Option<StepIx>, wanted: &BTreeSet<String>) -> Scope {
        let mut scope = BTreeMap::new();
        for name in SCOPE_NAMES.into_iter().filter(|name| wanted.contains(*name)) {
            scope.insert(name, self.scope_value(name, step));
        }
        scope
    }

    fn scope_value(&self, name: &str, step: Option<StepIx>) -> Value {
        match name {
            "order_id" => self.order.key.order_id.clone().into(),
            "saga" => self.saga.name.clone().into(),
            "step" => step.map(|step| self.saga.steps[step].name.clone()).into(),
            "reason" => self.order.life.turn.as_ref().map(|turn| turn.reason.clone()).into(),
            "attempt" => step.map(|step| self.attempt(step)).into(),
            "now" => self.with.now.rfc3339().into(),
            "attributes" => self
                .order
                .attributes
                .iter()
                .map(|(name, it)| (name.clone(), it.value.clone()))
                .collect::<Map<_, _>>()
                .into(),
            _ => self.finished_steps().into(),
        }
    }

    /// `steps.NAME` for each finished step: `event`, `events`, `headers`, `at`. What was erased, or was too large to keep, is
    /// missing, so that reading it fails instead of giving nothing.
    fn finished_steps(&self) -> Map<String, Value> {
        let finished = self.saga.steps.iter().zip(&self.order.steps).filter_map(|(definition, state)| {
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
