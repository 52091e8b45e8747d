//! What the `after` of all steps says together: circles, what comes before what, and what is surely done by then.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::saga::definition::{OnTimeout, Step, StepIx};

/// Every step that comes before `step`, directly or through others. In a circle, the step itself is among them.
pub(super) fn before(steps: &[Step], step: StepIx) -> BTreeSet<StepIx> {
    walk(steps, step, |_| true)
}

/// Every step that is done whenever `step` opens, if events come in the order of the steps.
///
/// A step that may be skipped need not be done; nor need what comes before a conditional step, which stands aside for
/// its followers as long as nothing triggered it.
pub(super) fn surely_done(steps: &[Step], step: StepIx) -> BTreeSet<StepIx> {
    let mut sure = walk(steps, step, |through| steps[through].when.is_empty());
    sure.retain(|&ix| !may_be_skipped(&steps[ix]));
    sure
}

/// Whether the definition itself lets a step be passed over.
pub(super) fn may_be_skipped(step: &Step) -> bool {
    step.condition.is_some() || !step.when.is_empty() || step.on_timeout == OnTimeout::Skip
}

/// Circles of `after`, each as the path from its first step in the file back to it.
pub(super) fn circles(steps: &[Step]) -> Vec<Vec<StepIx>> {
    let reach: Vec<BTreeSet<StepIx>> = (0..steps.len()).map(|ix| before(steps, ix)).collect();
    let mut told = BTreeSet::new();
    let mut circles = Vec::new();
    for ix in 0..steps.len() {
        if reach[ix].contains(&ix) && !told.contains(&ix) {
            told.extend(reach[ix].iter().copied().filter(|&other| reach[other].contains(&ix)));
            circles.push(path_back(steps, ix));
        }
    }
    circles
}

/// The shortest way from `start` along `after` back to it.
fn path_back(steps: &[Step], start: StepIx) -> Vec<StepIx> {
    let mut came_from = BTreeMap::new();
    let mut fresh = VecDeque::from([start]);
    while let Some(at) = fresh.pop_front() {
        for &next in &steps[at].after {
            if next == start {
                let mut path = vec![start, at];
                while let Some(&earlier) = came_from.get(path.last().unwrap_or(&start)) {
                    path.push(earlier);
                }
                path.reverse();
                return if at == start { vec![start, start] } else { path };
            }
            if let Entry::Vacant(unseen) = came_from.entry(next) {
                unseen.insert(at);
                fresh.push_back(next);
            }
        }
    }
    vec![start]
}

fn walk(steps: &[Step], from: StepIx, through: impl Fn(StepIx) -> bool) -> BTreeSet<StepIx> {
    let mut found = BTreeSet::new();
    let mut fresh = vec![from];
    while let Some(at) = fresh.pop() {
        if at == from || through(at) {
            fresh.extend(steps[at].after.iter().copied().filter(|&before| found.insert(before)));
        }
    }
    found
}
