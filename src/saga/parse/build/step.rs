//! Building the steps.

use super::{Builder, Seat, message, patterns, selectors, span, step_named, whole, word};
use crate::saga::definition::{
    Cadence, Compensation, Late, OnFailure, OnTimeout, Retry, RetryTo, Step, StepIx, Within,
};
use crate::saga::parse::tree::{Data, Node};
use crate::saga::time::Span;

/// How long a compensation may take where nothing is said.
const COMPENSATION_WITHIN: Span = Span::from_secs(3600);

/// One step for each entry under `steps`, in the order of the file.
pub(super) fn steps(root: &Node, builder: &mut Builder) -> Vec<Step> {
    let entries = root.get("steps").map(Node::entries).unwrap_or_default();
    let names: Vec<String> = entries.iter().map(|(name, _)| name.key_text()).collect();
    let mut steps = Vec::with_capacity(entries.len());
    for (ix, (_, node)) in entries.iter().enumerate() {
        builder.seat = Seat::Opening(ix);
        steps.push(step(ix, node, &names, builder));
    }
    steps
}

fn step(ix: StepIx, node: &Node, names: &[String], builder: &mut Builder) -> Step {
    let mut after = Vec::new();
    for item in node.get("after").map(Node::items).unwrap_or_default() {
        if let Some(ix) = step_named(item, names, builder) {
            if after.contains(&ix) {
                builder.findings.error(item.mark, format!("`{}` is named twice", names[ix]), None);
            } else {
                after.push(ix);
            }
        }
    }
    Step {
        name: names[ix].clone(),
        after,
        when: patterns(node.get("when"), builder),
        condition: node.get("if").and_then(|node| message::expression(node, builder)),
        done: patterns(node.get("done"), builder),
        failed: patterns(node.get("failed"), builder),
        on_failure: match word(node, "on_failure") {
            "alert" => OnFailure::Alert,
            "wait" => OnFailure::Wait,
            _ => OnFailure::Compensate,
        },
        within: node.get("within").and_then(|node| within(node, builder)),
        retry: node.get("retry").and_then(|node| retry(node, names, builder)),
        on_timeout: match word(node, "on_timeout") {
            "compensate" => OnTimeout::Compensate,
            "skip" => OnTimeout::Skip,
            _ => OnTimeout::Alert,
        },
        late: if word(node, "late") == "ignore" { Late::Ignore } else { Late::Compensate },
        count: node.get("count").and_then(|node| message::count(node, builder)),
        compensation: node.get("compensation").map(|node| {
            builder.seat = Seat::Undoing(ix);
            compensation(node, builder)
        }),
        by: selectors(node.get("by")),
        handled_by: handled_by(node),
    }
}

fn handled_by(node: &Node) -> Option<String> {
    node.get("handled_by")?.get("queue")?.text().map(str::to_owned)
}

fn within(node: &Node, builder: &mut Builder) -> Option<Within> {
    let text = node.text()?;
    if text.contains("{{") {
        message::braced(node, builder).map(Within::Computed)
    } else {
        Span::parse(text).ok().map(Within::Fixed)
    }
}

fn retry(node: &Node, names: &[String], builder: &mut Builder) -> Option<Retry> {
    let message = node.get("message").and_then(|node| step_named(node, names, builder));
    let to = node.get("to")?;
    let text = |key: &str| to.get(key).and_then(Node::text).map(str::to_owned);
    let to = match (text("queue"), text("exchange")) {
        (Some(queue), _) => RetryTo::Queue(queue),
        (None, Some(exchange)) => RetryTo::Exchange { exchange, routing_key: text("routing_key") },
        (None, None) if to.text() == Some("original") => RetryTo::Original,
        (None, None) => return None,
    };
    Some(Retry { cadence: cadence(node)?, to, message })
}

fn cadence(node: &Node) -> Option<Cadence> {
    let backoff = match node.get("backoff").map(|node| &node.data) {
        Some(Data::Number(number)) => number.as_f64()?,
        _ => 1.0,
    };
    Some(Cadence { times: whole(node, "times")?, every: span(node, "every")?, backoff })
}

fn compensation(node: &Node, builder: &mut Builder) -> Compensation {
    let done = patterns(node.get("done"), builder);
    let given = span(node, "within");
    Compensation {
        publish: node.get("publish").map(|node| message::publish(node, builder)),
        within: if done.is_empty() { None } else { given.or(Some(COMPENSATION_WITHIN)) },
        done,
        failed: patterns(node.get("failed"), builder),
        retry: node.get("retry").and_then(cadence),
        handled_by: handled_by(node),
    }
}
