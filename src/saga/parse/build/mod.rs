//! From the tree to the definition's values.
//!
//! Takes what the grammar accepted and leaves the rest out in silence, for [`super::shape`] has reported it; what only
//! shows here (a step that is not there, an expression that does not compile) is reported here. Every step of the file
//! becomes a step, whatever is wrong with it, so that places keep their meaning for the checks that follow.

pub(super) mod message;
pub(super) mod reading;
mod step;

use std::collections::{BTreeMap, BTreeSet};

use super::finding::{Findings, Mark};
use super::tree::{Data, Node};
use super::{hint, meaning, selector};
use crate::saga::definition::{BrakeLimit, Mode, Pattern, PatternRole, Role, Saga, Selector, Step, StepIx, Telling};
use crate::saga::expression::Expression;
use crate::saga::time::Span;

/// How long an order may take where nothing is said.
const ORDER_WITHIN: Span = Span::from_secs(7 * 86_400);

/// The brake where nothing is said.
const BRAKE: BrakeLimit = BrakeLimit { orders: 50, per: Span::from_secs(60) };

/// Where an expression stands, which decides what it sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seat {
    /// `where`: the message alone.
    Condition,
    /// `if`, `count`, `within`: looked at when the step opens.
    Opening(StepIx),
    /// A template of the step's compensation.
    Undoing(StepIx),
}

/// What building leaves behind for the checks.
pub(super) struct Built {
    pub saga: Saga,
    /// Every expression that compiled, with its place.
    pub expressions: Vec<(Mark, Seat, Expression)>,
    /// Every event that is named, with its place.
    pub events: Vec<(Mark, String)>,
}

struct Builder<'f, 'a> {
    findings: &'f mut Findings<'a>,
    seat: Seat,
    expressions: Vec<(Mark, Seat, Expression)>,
    events: Vec<(Mark, String)>,
}

impl Builder<'_, '_> {
    fn note(&mut self, node: &Node, expression: &Expression) {
        self.expressions.push((node.mark, self.seat, expression.clone()));
    }
}

/// Builds what `root` says. Only a definition without errors among the findings is valid.
pub(super) fn build(root: &Node, findings: &mut Findings) -> Built {
    let text = findings.source().to_owned();
    let mut builder = Builder { findings, seat: Seat::Condition, expressions: Vec::new(), events: Vec::new() };
    let steps = step::steps(root, &mut builder);
    let cancelled_by = patterns(root.get("cancelled_by"), &mut builder);
    let mut saga = Saga {
        name: word(root, "saga").to_owned(),
        version: whole(root, "version").unwrap_or_default(),
        mode: if word(root, "mode") == "observe" { Mode::Observe } else { Mode::Act },
        watch: reading::watch(root),
        attributes: attributes(root),
        roles: roles(&steps, &cancelled_by),
        steps,
        cancelled_by,
        within: span(root, "within").unwrap_or(ORDER_WITHIN),
        brake: brake(root),
        notify: notify(root),
        text,
        fingerprint: [0; 32],
    };
    saga.fingerprint = meaning::fingerprint(&saga);
    Built { saga, expressions: builder.expressions, events: builder.events }
}

fn attributes(root: &Node) -> Vec<(String, Vec<Selector>)> {
    let entries = root.get("attributes").map(Node::entries).unwrap_or_default();
    entries.iter().map(|(name, value)| (name.key_text(), selectors(Some(value)))).collect()
}

fn brake(root: &Node) -> Option<BrakeLimit> {
    let Some(node) = root.get("brake") else { return Some(BRAKE) };
    if node.text().is_some() {
        return None;
    }
    Some(BrakeLimit {
        orders: whole(node, "orders").unwrap_or(BRAKE.orders),
        per: span(node, "per").unwrap_or(BRAKE.per),
    })
}

fn notify(root: &Node) -> BTreeSet<Telling> {
    match root.get("notify") {
        None => Telling::ALL.into_iter().filter(|telling| *telling != Telling::Completed).collect(),
        Some(node) => {
            let words: BTreeSet<&str> = node.items().iter().filter_map(Node::text).collect();
            Telling::ALL.into_iter().filter(|telling| words.contains(telling.word())).collect()
        }
    }
}

/// What each event name means, in definition order.
fn roles(steps: &[Step], cancelled_by: &[Pattern]) -> BTreeMap<String, Vec<PatternRole>> {
    let mut roles: BTreeMap<String, Vec<PatternRole>> = BTreeMap::new();
    let mut add = |patterns: &[Pattern], role: Role| {
        for pattern in patterns {
            let condition = pattern.condition.clone();
            roles.entry(pattern.event.clone()).or_default().push(PatternRole { role, condition });
        }
    };
    for (ix, step) in steps.iter().enumerate() {
        add(&step.done, Role::Done(ix));
        add(&step.failed, Role::Failed(ix));
        add(&step.when, Role::When(ix));
        if let Some(compensation) = &step.compensation {
            add(&compensation.done, Role::CompensationDone(ix));
            add(&compensation.failed, Role::CompensationFailed(ix));
        }
    }
    add(cancelled_by, Role::Cancel);
    roles
}

/// One event, a map with a condition, or a list of either.
fn patterns(node: Option<&Node>, builder: &mut Builder) -> Vec<Pattern> {
    let outer = std::mem::replace(&mut builder.seat, Seat::Condition);
    let mut patterns = Vec::new();
    for item in node.map(Node::items).unwrap_or_default() {
        let name = item.get("event").unwrap_or(item);
        let Some(event) = name.text() else { continue };
        builder.events.push((name.mark, event.to_owned()));
        let condition = item.get("where").and_then(|node| message::expression(node, builder));
        patterns.push(Pattern { event: event.to_owned(), condition });
    }
    builder.seat = outer;
    patterns
}

/// The place of the step that `node` names.
fn step_named(node: &Node, names: &[String], builder: &mut Builder) -> Option<StepIx> {
    let name = node.text()?;
    let place = names.iter().position(|known| known == name);
    if place.is_none() {
        let known = names.iter().map(String::as_str);
        let hint =
            hint::did_you_mean(name, known.clone()).unwrap_or_else(|| format!("the steps are {}", hint::any_of(known)));
        builder.findings.error(node.mark, format!("there is no step `{name}`"), hint);
    }
    place
}

fn selectors(node: Option<&Node>) -> Vec<Selector> {
    let items = node.map(Node::items).unwrap_or_default();
    items.iter().filter_map(Node::text).filter_map(|text| selector::parse(text).ok()).collect()
}

/// The text under `key`; empty where there is none.
fn word<'n>(node: &'n Node, key: &str) -> &'n str {
    node.get(key).and_then(Node::text).unwrap_or_default()
}

fn span(node: &Node, key: &str) -> Option<Span> {
    Span::parse(node.get(key)?.text()?).ok()
}

fn whole(node: &Node, key: &str) -> Option<u32> {
    match &node.get(key)?.data {
        Data::Number(number) => number.as_u64().and_then(|number| u32::try_from(number).ok()),
        _ => None,
    }
}

fn flag(node: &Node, key: &str) -> bool {
    matches!(node.get(key).map(|node| &node.data), Some(Data::Bool(true)))
}
