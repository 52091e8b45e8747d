//! What definitions make Escrow touch on a broker: the exchanges it watches, the queues it sends to again, and where else it
//! publishes, by which keys.

use std::collections::BTreeSet;

use crate::bus::plan::{Keys, Reach};
use crate::saga::catalog::Catalog;
use crate::saga::definition::{Publish, Retry, RetryTo, Saga};
use crate::saga::expression::Template;
use serde_json::Value;

use super::looks::{exchanges, wanted};

/// What every version in the catalog touches.
pub fn reach(catalog: &Catalog) -> Reach {
    let mut reach = Reach { watched: wanted(catalog), ..Reach::default() };
    for saga in catalog.all() {
        // Tellings, and compensations that say nothing else, go out under the saga's own name.
        reach.told.add_prefix(&format!("{}.", saga.name));
        for step in &saga.steps {
            reach.looked_at.extend(step.queues().map(str::to_owned));
            if let Some(retry) = &step.retry {
                resend(saga, retry, &mut reach);
            }
            if let Some(publish) = step.compensation.as_ref().and_then(|undo| undo.publish.as_ref()) {
                ask(publish, &mut reach);
            }
        }
    }
    reach
}

fn resend(saga: &Saga, retry: &Retry, reach: &mut Reach) {
    match &retry.to {
        RetryTo::Queue(queue) => {
            reach.retry_queues.insert(queue.clone());
            // Also where `handled_by` names another one: a look is what withholds a retry.
            reach.looked_at.insert(queue.clone());
        }
        RetryTo::Exchange { exchange, routing_key } => {
            reach.published.entry(exchange.clone()).or_default().add(routing_key.as_deref());
        }
        // Which of them the message came through is known only then.
        RetryTo::Original => {
            for exchange in exchanges(saga).collect::<BTreeSet<_>>() {
                *reach.published.entry(exchange.to_owned()).or_default() = Keys::Any;
            }
        }
    }
}

fn ask(publish: &Publish, reach: &mut Reach) {
    let literal = |template: &Template| match template {
        Template::Literal(Value::String(text)) => Some(text.clone()),
        Template::Literal(_) | Template::Exact(_) | Template::Text(_) | Template::List(_) | Template::Map(_) => None,
    };
    match (&publish.exchange, &publish.routing_key) {
        (None, None) => {}
        (None, Some(template)) => reach.told.add(literal(template).as_deref()),
        (Some(exchange), None) => reach.published.entry(exchange.clone()).or_default().add(Some("")),
        (Some(exchange), Some(template)) => {
            reach.published.entry(exchange.clone()).or_default().add(literal(template).as_deref());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::saga::parse::parse;

    const SAGA: &str = r#"
saga: order
version: 1
watch: [{ exchange: orders }, { exchange: shop, keys: ["order.*"] }]
read: { event: /e, order_id: /o }
steps:
  placed: { done: Placed }
  paid:
    after: placed
    done: Paid
    within: 1m
    retry: { times: 1, every: 1s, to: { queue: payments } }
    compensation:
      publish: { event: Refund, exchange: refunds, routing_key: "refund.{{ order_id }}" }
      done: Refunded
      handled_by: { queue: refunds }
  packed:
    after: placed
    done: Packed
    within: 1m
    retry: { times: 1, every: 1s, to: original }
    compensation: { publish: { event: Unpack, exchange: stock, routing_key: unpack } }
  told:
    after: placed
    done: Told
    handled_by: { queue: mails }
    compensation: { publish: Untell }
"#;

    #[test]
    fn a_definition_reaches_what_it_watches_retries_and_asks() {
        let catalog: Catalog = [Arc::new(parse("a.yaml", SAGA).unwrap().saga)].into_iter().collect();
        let reach = reach(&catalog);
        assert_eq!(reach.watched.iter().map(|it| it.exchange.as_str()).collect::<Vec<_>>(), ["orders", "shop"]);
        assert_eq!(reach.retry_queues, BTreeSet::from(["payments".to_owned()]));
        assert_eq!(reach.looked_at, BTreeSet::from(["mails", "payments", "refunds"].map(str::to_owned)));
        assert_eq!(reach.published["refunds"], Keys::Any, "the key is known only when the order is");
        assert_eq!(reach.published["orders"], Keys::Any, "what is sent again keeps its key");
        let mut unpack = Keys::default();
        unpack.add(Some("unpack"));
        assert_eq!(reach.published["stock"], unpack);
        let mut told = Keys::default();
        told.add_prefix("order.");
        assert_eq!(reach.told, told);
    }
}
