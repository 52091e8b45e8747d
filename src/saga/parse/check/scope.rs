//! Whether every expression sees what it reads, and whether what it reads is there by then.
//!
//! ```text
//!   where               body, headers, routing_key
//!   if, count, within   the root events and the steps it comes after   ← must be done when the step opens
//!   {{ }} of publish    every finished step                            ← must be done whenever the step is undone
//! ```
//!
//! A step that need not be done by then can still be read behind `has(steps.NAME)`.

use std::collections::BTreeSet;

use crate::saga::definition::{Saga, StepIx};
use crate::saga::expression::{Expression, Guard};
use crate::saga::parse::build::{Built, Seat};
use crate::saga::parse::finding::{Findings, Mark};
use crate::saga::parse::{graph, hint};

const CONDITION: &[&str] = &["body", "headers", "routing_key"];
const OPENING: &[&str] = &["order_id", "saga", "step", "now", "attributes", "steps"];
const UNDOING: &[&str] = &["order_id", "saga", "step", "reason", "attempt", "now", "attributes", "steps"];

/// The names CEL gives to types.
const TYPES: &[&str] =
    &["bool", "bytes", "double", "duration", "int", "list", "map", "null_type", "string", "timestamp", "type", "uint"];

pub(super) fn check(built: &Built, findings: &mut Findings) {
    for (mark, seat, expression) in &built.expressions {
        let reader = Reader { saga: &built.saga, mark: *mark, seat: *seat, expression };
        reader.variables(findings);
        if *seat != Seat::Condition {
            reader.attributes(findings);
            reader.steps(findings);
        }
    }
}

/// One expression in its place.
struct Reader<'b> {
    saga: &'b Saga,
    mark: Mark,
    seat: Seat,
    expression: &'b Expression,
}

impl Reader<'_> {
    fn variables(&self, findings: &mut Findings) {
        let (known, place) = match self.seat {
            Seat::Condition => (CONDITION, "a condition"),
            Seat::Opening(_) => (OPENING, "this expression"),
            Seat::Undoing(_) => (UNDOING, "a template"),
        };
        let unknown = self
            .expression
            .variables()
            .iter()
            .filter(|name| !known.contains(&name.as_str()) && !TYPES.contains(&name.as_str()));
        for name in unknown.filter(|name| !self.is_dashed_rest(name)) {
            let hint = if self.saga.step_ix(name).is_some() && self.seat != Seat::Condition {
                format!("a step's event is read as `steps.{name}.event`")
            } else if self.is_attribute(name) && self.seat != Seat::Condition {
                format!("an attribute is read as `attributes.{name}`")
            } else {
                let words = hint::any_of(known.iter().copied());
                hint::did_you_mean(name, known.iter().copied()).unwrap_or_else(|| format!("{place} sees {words}"))
            };
            findings.error(self.mark, format!("`{name}` is not known here"), hint);
        }
    }

    fn is_attribute(&self, name: &str) -> bool {
        self.saga.attributes.iter().any(|(known, _)| known == name)
    }

    fn attributes(&self, findings: &mut Findings) {
        for name in self.expression.attributes_read().keys().filter(|name| !self.is_attribute(name)) {
            let known = self.saga.attributes.iter().map(|(name, _)| name.as_str());
            let hint = hint::did_you_mean(name, known)
                .unwrap_or_else(|| format!("say under `attributes` where a message has `{name}`"));
            // The language says nothing against it; the order it is looked at for would only be stuck.
            let message = format!("there is no attribute `{name}`: reading it without `has()` makes the order stuck");
            findings.warning(self.mark, message, hint);
        }
    }

    fn steps(&self, findings: &mut Findings) {
        let (step, visible, sure) = match self.seat {
            Seat::Condition => return,
            Seat::Opening(step) => (step, Some(self.visible(step)), graph::surely_done(&self.saga.steps, step)),
            Seat::Undoing(step) => (step, None, self.surely_done_when_undone(step)),
        };
        for (name, guard) in self.expression.steps_read() {
            let Some(read) = self.saga.step_ix(name) else {
                self.unknown_step(name, findings);
                continue;
            };
            if visible.as_ref().is_some_and(|visible| !visible.contains(&read)) {
                let reader = &self.saga.steps[step].name;
                let message = if read == step {
                    format!("`{name}` is not done when it opens")
                } else {
                    format!("`{name}` is not seen here: `{reader}` does not come after it")
                };
                let hint =
                    "seen are the root events and the steps it comes after, in `after` or through others".to_owned();
                findings.error(self.mark, message, hint);
            } else if *guard == Guard::Bare && !sure.contains(&read) {
                let hint = format!("ask first: `has(steps.{name}) ? … : …`");
                findings.error(self.mark, self.why_not_sure(step, read), hint);
            }
        }
    }

    fn why_not_sure(&self, step: StepIx, read: StepIx) -> String {
        let name = &self.saga.steps[read].name;
        if read == step {
            format!("`{name}` may be undone after a timeout, without an event of its own")
        } else if graph::may_be_skipped(&self.saga.steps[read]) {
            format!("`{name}` may be skipped, and need not be done by then")
        } else {
            format!("`{name}` need not be done by then")
        }
    }

    fn visible(&self, step: StepIx) -> BTreeSet<StepIx> {
        let mut visible = graph::before(&self.saga.steps, step);
        visible.extend((0..self.saga.steps.len()).filter(|&ix| self.saga.is_root(ix)));
        visible.remove(&step);
        visible
    }

    /// Undone are steps that are done, but also those that timed out: a step with a deadline may lack its event.
    fn surely_done_when_undone(&self, step: StepIx) -> BTreeSet<StepIx> {
        let mut sure = graph::surely_done(&self.saga.steps, step);
        if self.saga.steps[step].within.is_none() {
            sure.insert(step);
        } else {
            sure.remove(&step);
        }
        sure
    }

    fn unknown_step(&self, name: &str, findings: &mut Findings) {
        let dashed = self.saga.steps.iter().find(|step| {
            step.name.strip_prefix(name).is_some_and(|rest| rest.starts_with('-'))
                && self.expression.source().contains(&format!("steps.{}", step.name))
        });
        let names = self.saga.steps.iter().map(|step| step.name.as_str());
        let hint = dashed
            .map(|step| format!("CEL reads the dash as minus; write `steps[\"{}\"]`", step.name))
            .or_else(|| hint::did_you_mean(name, names.clone()))
            .unwrap_or_else(|| format!("the steps are {}", hint::any_of(names)));
        findings.error(self.mark, format!("there is no step `{name}`"), hint);
    }

    /// `note` in `steps.gift-note.event`, where `gift-note` is a step: told once, as the unknown step `gift`.
    fn is_dashed_rest(&self, name: &str) -> bool {
        self.saga.steps.iter().any(|step| {
            step.name.split_once('-').is_some_and(|(_, rest)| rest.split('-').any(|part| part == name))
                && self.expression.source().contains(&format!("steps.{}", step.name))
        })
    }
}
