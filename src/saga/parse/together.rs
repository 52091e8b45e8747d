//! What only shows when several definitions are laid side by side.

use std::collections::BTreeMap;

use serde_json::Value;

use super::build::message::canonical;
use super::finding::{Finding, Findings, Mark};
use super::tree;
use crate::saga::definition::{Publish, Saga, StepIx};
use crate::saga::outgoing::EXCHANGE;

/// Checks definitions that are to be followed together, each with the name of its file.
///
/// Refuses the same version of a saga twice, and two sagas that publish the same compensation to the same place: one
/// order's undoing would be taken for the other's.
pub fn check_together(sagas: &[(&str, &Saga)]) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut versions: BTreeMap<(&str, u32), &str> = BTreeMap::new();
    let mut compensations: BTreeMap<String, (&str, &str, &str)> = BTreeMap::new();
    for (file, saga) in sagas {
        if let Some(first) = versions.get(&(saga.name.as_str(), saga.version)) {
            let message = format!("version {} of `{}` is already in {first}", saga.version, saga.name);
            let hint = "a new meaning needs a higher version; a copy is to be removed".to_owned();
            found.extend(at(file, saga, &["version"], message, hint));
        }
        versions.entry((saga.name.as_str(), saga.version)).or_insert(file);
        for (step, publish) in published(saga) {
            let name = saga.steps[step].name.as_str();
            let place = place(saga, name, publish);
            match compensations.get(&place) {
                Some((other_file, other, other_step)) if *other != saga.name => {
                    let message = format!(
                        "`{}` is asked for in the same way by step `{other_step}` of `{other}` in {other_file}",
                        publish.event
                    );
                    let hint =
                        "nobody could tell the two apart; give one of them another exchange, key or event".to_owned();
                    found.extend(at(file, saga, &["steps", name, "compensation", "publish"], message, hint));
                }
                Some(_) => {}
                None => {
                    compensations.insert(place, (file, &saga.name, name));
                }
            }
        }
    }
    found
}

fn published(saga: &Saga) -> impl Iterator<Item = (StepIx, &Publish)> {
    let undoing = |step: &'_ crate::saga::definition::Step| step.compensation.is_some();
    saga.steps.iter().enumerate().filter(move |(_, step)| undoing(step)).filter_map(|(ix, step)| {
        step.compensation.as_ref().and_then(|compensation| compensation.publish.as_ref()).map(|publish| (ix, publish))
    })
}

/// Event, exchange and routing key as one text.
fn place(saga: &Saga, step: &str, publish: &Publish) -> String {
    let exchange = publish.exchange.as_deref().unwrap_or(EXCHANGE);
    let key = match (&publish.routing_key, &publish.exchange) {
        (Some(key), _) => canonical(key),
        (None, None) => Value::String(format!("{}.{step}.compensate", saga.name)),
        (None, Some(_)) => serde_json::json!({ "literal": "" }),
    };
    serde_json::json!([publish.event, exchange, key]).to_string()
}

/// A finding at the value under `path` in the text the saga was read from.
fn at(file: &str, saga: &Saga, path: &[&str], message: String, hint: String) -> Vec<Finding> {
    let mut ignored = Findings::new(file, &saga.text);
    let root = tree::read(&mut ignored);
    let mut node = root.as_ref();
    let mut mark = Mark::default();
    for key in path {
        node = node.and_then(|node| node.get(key));
        mark = node.map_or(mark, |node| node.mark);
    }
    let mut findings = Findings::new(file, &saga.text);
    findings.error(mark, message, hint);
    findings.into_list()
}
