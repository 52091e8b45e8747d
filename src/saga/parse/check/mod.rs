//! What no table of keys can say: whether the steps can be gone through, whether every expression sees what it reads,
//! and whether every message can be read.
//!
//! Refuses what the machine could not run, and warns of what will surprise. Works on what was built and takes places from
//! the tree.

mod events;
mod reading;
mod scope;
mod steps;

use super::build::Built;
use super::finding::{Findings, Mark};
use super::tree::Node;
use crate::saga::definition::{STEPS_MAX, StepIx};
use crate::saga::outgoing::EXCHANGE;

/// Runs every check.
pub(super) fn check(root: &Node, built: &Built, findings: &mut Findings) {
    if built.saga.steps.len() > STEPS_MAX {
        let mark = root.entry("steps").map_or(root.mark, |(name, _)| name.mark);
        findings.error(mark, format!("a saga has at most {STEPS_MAX} steps"), None);
        return;
    }
    steps::check(root, &built.saga, findings);
    events::check(root, built, findings);
    reading::check(root, built, findings);
    scope::check(built, findings);
}

/// Whether an exchange or queue is one Escrow declares for itself.
fn is_own(place: &str) -> bool {
    place.strip_prefix(EXCHANGE).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// The value of a step in the file.
fn step_node(root: &Node, step: StepIx) -> Option<&Node> {
    root.get("steps")?.entries().get(step).map(|(_, node)| node)
}

/// Where the key `path` of a step stands; where the step stands, if it has no such key.
fn step_key(root: &Node, step: StepIx, path: &[&str]) -> Mark {
    let entry = root.get("steps").and_then(|steps| steps.entries().get(step));
    let mut mark = entry.map_or(root.mark, |(name, _)| name.mark);
    let mut at = entry.map(|(_, node)| node);
    for key in path {
        match at.and_then(|node| node.entry(key)) {
            Some((name, value)) => {
                mark = name.mark;
                at = Some(value);
            }
            None => break,
        }
    }
    mark
}
