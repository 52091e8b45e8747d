//! Whether events that must be told apart can be.

use super::step_key;
use crate::saga::definition::{Pattern, Saga, StepIx};
use crate::saga::parse::build::Built;
use crate::saga::parse::finding::Findings;
use crate::saga::parse::tree::Node;

pub(super) fn check(root: &Node, built: &Built, findings: &mut Findings) {
    let saga = &built.saga;
    for step in 0..saga.steps.len() {
        clashes(root, saga, step, findings);
        undoing(root, saga, step, findings);
    }
    if let Some((name, _)) = root.entry("cancelled_by") {
        let done = saga.steps.iter().flat_map(|step| &step.done);
        if let Some(event) = shared(&saga.cancelled_by, done) {
            let message = format!("`{event}` cancels the order and closes a step of it");
            findings.warning(name.mark, message, "tell them apart with `where`".to_owned());
        }
    }
}

fn clashes(root: &Node, saga: &Saga, step: StepIx, findings: &mut Findings) {
    let this = &saga.steps[step];
    if let Some(event) = shared(&this.failed, &this.done) {
        let message = format!("`{event}` says both that `{}` is done and that it failed", this.name);
        findings.error(step_key(root, step, &["failed"]), message, "tell them apart with `where`".to_owned());
    }
    let closes_itself = !this.when.is_empty() && this.when.iter().all(|when| shared([when], &this.done).is_some());
    if closes_itself {
        let message = format!("nothing is ever awaited in `{}`: what triggers it also closes it", this.name);
        findings.error(
            step_key(root, step, &["when"]),
            message,
            "name another event, or tell them apart with `where`".to_owned(),
        );
    }
    for (key, patterns) in [("done", &this.done), ("failed", &this.failed), ("when", &this.when)] {
        if let Some(event) = repeated(patterns) {
            findings.warning(step_key(root, step, &[key]), format!("`{event}` is named twice"), None);
        }
    }
}

fn undoing(root: &Node, saga: &Saga, step: StepIx, findings: &mut Findings) {
    let this = &saga.steps[step];
    let Some(compensation) = &this.compensation else { return };
    let apart = || "tell them apart with `where`".to_owned();
    if let Some(event) = shared(&compensation.done, &this.done) {
        let message = format!("`{event}` closes `{}` and its compensation", this.name);
        findings.error(step_key(root, step, &["compensation", "done"]), message, apart());
    }
    if let Some(event) = shared(&compensation.failed, &compensation.done) {
        let message = format!("`{event}` says both that the compensation is done and that it failed");
        findings.error(step_key(root, step, &["compensation", "failed"]), message, apart());
    }
    let asked = compensation.publish.as_ref().map(|publish| publish.event.as_str());
    if let Some(pattern) = compensation.done.iter().find(|pattern| Some(pattern.event.as_str()) == asked) {
        let message = format!("`{}` is what Escrow publishes itself; its own messages close nothing", pattern.event);
        let hint = "name the event the service answers with".to_owned();
        findings.warning(step_key(root, step, &["compensation", "done"]), message, hint);
    }
}

/// An event that stands without a condition on both sides.
fn shared<'p>(
    some: impl IntoIterator<Item = &'p Pattern>,
    others: impl IntoIterator<Item = &'p Pattern>,
) -> Option<&'p str> {
    let others: Vec<&Pattern> = others.into_iter().filter(|pattern| pattern.condition.is_none()).collect();
    let mut some = some.into_iter().filter(|pattern| pattern.condition.is_none());
    some.find(|pattern| others.iter().any(|other| other.event == pattern.event)).map(|pattern| pattern.event.as_str())
}

fn repeated(patterns: &[Pattern]) -> Option<&str> {
    let bare: Vec<&str> =
        patterns.iter().filter(|pattern| pattern.condition.is_none()).map(|pattern| pattern.event.as_str()).collect();
    bare.iter().enumerate().find(|(ix, event)| bare[..*ix].contains(event)).map(|(_, event)| *event)
}
