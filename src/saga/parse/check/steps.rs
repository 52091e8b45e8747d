//! Whether the steps can be gone through, and whether what is sent again or asked for can reach someone.

use super::{is_own, step_key, step_node};
use crate::saga::definition::{OrderIdFrom, Publish, RetryTo, Saga, StepIx};
use crate::saga::parse::finding::Findings;
use crate::saga::parse::tree::Node;
use crate::saga::parse::{graph, hint};

pub(super) fn check(root: &Node, saga: &Saga, findings: &mut Findings) {
    opening(root, saga, findings);
    for step in 0..saga.steps.len() {
        retry(root, saga, step, findings);
        handled_by(root, saga, step, findings);
        if let Some(publish) = saga.steps[step].compensation.as_ref().and_then(|undo| undo.publish.as_ref()) {
            own_exchange(root, step, publish, findings);
        }
    }
}

/// Circles, what comes after them, and whether any step opens the order at all.
fn opening(root: &Node, saga: &Saga, findings: &mut Findings) {
    let name = |ix: StepIx| saga.steps[ix].name.as_str();
    let circles = graph::circles(&saga.steps);
    let in_circle: Vec<StepIx> =
        (0..saga.steps.len()).filter(|&ix| graph::before(&saga.steps, ix).contains(&ix)).collect();
    for circle in &circles {
        let mark = step_key(root, circle[0], &["after"]);
        let path: Vec<String> = circle.iter().map(|&ix| format!("`{}`", name(ix))).collect();
        let message = match path.as_slice() {
            [only, ..] if path.len() <= 2 => format!("{only} comes after itself"),
            _ => format!("steps wait for each other in a circle: {}", path.join(" after ")),
        };
        findings.error(mark, message, "one of them must not come after the other".to_owned());
    }
    for step in (0..saga.steps.len()).filter(|ix| !in_circle.contains(ix)) {
        let held = graph::before(&saga.steps, step).into_iter().find(|ix| in_circle.contains(ix));
        if let Some(held) = held {
            let message =
                format!("nothing can open `{}`: it comes after `{}`, which waits for itself", name(step), name(held));
            findings.error(step_key(root, step, &["after"]), message, None);
        }
    }
    roots(root, saga, circles.is_empty(), findings);
}

fn roots(root: &Node, saga: &Saga, no_circles: bool, findings: &mut Findings) {
    let Some((steps, value)) = root.entry("steps") else { return };
    let knows_all_after = value
        .entries()
        .iter()
        .zip(&saga.steps)
        .all(|((_, node), step)| node.get("after").is_none_or(|after| after.items().len() == step.after.len()));
    let roots: Vec<StepIx> = (0..saga.steps.len()).filter(|&ix| saga.is_root(ix)).collect();
    if roots.is_empty() && no_circles && knows_all_after && !saga.steps.is_empty() {
        let hint = "the first step of an order has neither `after` nor `when`".to_owned();
        findings.error(steps.mark, "nothing can open the steps: each comes after another or waits for a trigger", hint);
    }
    let arrival = saga.watch.iter().any(|watch| watch.read.order_id == OrderIdFrom::Arrival);
    if let ([_, second, ..], true) = (roots.as_slice(), arrival) {
        let message = "with `order_id: arrival`, one step alone can open an order";
        let hint = format!("say what `{}` comes after", saga.steps[*second].name);
        findings.error(step_key(root, *second, &[]), message, hint);
    }
}

fn retry(root: &Node, saga: &Saga, step: StepIx, findings: &mut Findings) {
    let this = &saga.steps[step];
    let Some(node) = step_node(root, step).and_then(|node| node.get("retry")) else { return };
    let mark = step_key(root, step, &["retry"]);
    let message = node.get("message");
    let after_is_known = step_node(root, step)
        .and_then(|node| node.get("after"))
        .is_none_or(|after| after.items().len() == this.after.len());
    let before = graph::before(&saga.steps, step);
    if saga.is_root(step) && after_is_known {
        let text = format!("`{}` opens with the order: no message opened it that could be sent again", this.name);
        findings.error(mark, text, "leave `retry` out, or say what the step comes after".to_owned());
    } else if this.after.len() > 1 && message.is_none() {
        let names = this.after.iter().map(|&ix| saga.steps[ix].name.as_str());
        let text = format!("several messages open `{}`; which one is sent again?", this.name);
        findings.error(mark, text, format!("add `message:` with {}", hint::any_of(names)));
    }
    let named = message.and_then(|node| Some((node, saga.step_ix(node.text()?)?)));
    if let Some((node, _)) = named.filter(|(_, ix)| !before.contains(ix) && !saga.is_root(step)) {
        let text = format!("`{}` does not come before `{}`", node.text().unwrap_or_default(), this.name);
        let names = hint::any_of(before.iter().map(|&ix| saga.steps[ix].name.as_str()));
        findings.error(node.mark, text, format!("its message is one of {names}"));
    }
    let sent = named.map(|(_, ix)| ix).or(match this.after.as_slice() {
        [only] if this.when.is_empty() => Some(*only),
        _ => None,
    });
    if let Some(skippable) = sent.filter(|&ix| graph::may_be_skipped(&saga.steps[ix])) {
        let text =
            format!("`{}` may be skipped; then the message that opened it is sent again", saga.steps[skippable].name);
        let hint = "whoever takes the retry must understand that message, too".to_owned();
        findings.warning(message.map_or(mark, |node| node.mark), text, hint);
    }
    target(root, step, this.retry.as_ref().map(|retry| &retry.to), findings);
}

fn target(root: &Node, step: StepIx, to: Option<&RetryTo>, findings: &mut Findings) {
    let mark = step_node(root, step)
        .and_then(|node| node.get("retry")?.get("to"))
        .map_or_else(|| step_key(root, step, &["retry", "to"]), |node| node.mark);
    let (own, everyone) = match to {
        Some(RetryTo::Queue(queue)) => (is_own(queue).then_some(queue), None),
        Some(RetryTo::Exchange { exchange, .. }) => {
            (is_own(exchange).then_some(exchange), Some(format!("`{exchange}`")))
        }
        Some(RetryTo::Original) => (None, Some("the exchange it was first published to".to_owned())),
        None => (None, None),
    };
    if let Some(own) = own {
        findings.error(mark, format!("`{own}` is Escrow's own"), "name the queue of the silent service".to_owned());
    } else if let Some(everyone) = everyone {
        let message = format!("a retry goes to every subscriber of {everyone}, not only to the silent one");
        let hint = "`to: { queue: NAME }` reaches the silent consumer alone; subscribers must tolerate the same message id again";
        findings.warning(mark, message, hint.to_owned());
    }
}

/// Whether what is looked at can be a service's queue, and the one its retries go to.
fn handled_by(root: &Node, saga: &Saga, step: StepIx, findings: &mut Findings) {
    let this = &saga.steps[step];
    let mark = |path: &[&str]| {
        let node = path.iter().try_fold(step_node(root, step)?, |node, key| node.get(key));
        node.map(|node| node.mark)
    };
    let places = [
        (this.handled_by.as_deref(), mark(&["handled_by", "queue"])),
        (this.undo_queue(), mark(&["compensation", "handled_by", "queue"])),
    ];
    for (queue, mark) in places {
        if let (Some(queue), Some(mark)) = (queue.filter(|queue| is_own(queue)), mark) {
            findings.error(
                mark,
                format!("`{queue}` is Escrow's own"),
                "name the queue of the service that answers".to_owned(),
            );
        }
    }
    if let (Some(looked), Some(RetryTo::Queue(retried))) = (&this.handled_by, this.retry.as_ref().map(|it| &it.to))
        && looked != retried
    {
        let text = format!("`{looked}` is looked at, and retries go to `{retried}`");
        let hint = "one service answers a step: name its queue in both, or leave `handled_by` out".to_owned();
        findings.warning(mark(&["handled_by", "queue"]).unwrap_or(root.mark), text, hint);
    }
}

fn own_exchange(root: &Node, step: StepIx, publish: &Publish, findings: &mut Findings) {
    if let Some(exchange) = publish.exchange.as_ref().filter(|exchange| is_own(exchange)) {
        let mark = step_node(root, step)
            .and_then(|node| node.get("compensation")?.get("publish")?.get("exchange"))
            .map_or(root.mark, |node| node.mark);
        let hint = "leave `exchange` out to publish on `escrow`, or name an exchange of the services".to_owned();
        findings.error(mark, format!("`{exchange}` is Escrow's own"), hint);
    }
}
