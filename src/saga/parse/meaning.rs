//! The meaning of a definition as one hash.
//!
//! Two files with the same hash follow orders in the same way, whatever their comments, formatting, quoting and
//! spelled-out defaults. Mode, brake, notify and attributes are no part of it, nor is the version: it names a meaning
//! rather than being one. `handled_by` is no part of it either: it says where to look when people ask why, nothing is decided by
//! what is seen there, and a queue that is renamed must not need a new version for orders under way. (The queue of a `retry` is
//! part of it, because messages go there.) Everything is taken apart field by field, so that a new field cannot be forgotten here.

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::build::message::{canonical, canonical_map};
use crate::saga::definition::{
    Cadence, Compensation, Late, OnFailure, OnTimeout, OrderIdFrom, Pattern, Place, Publish, Read, Retry, Saga,
    Selector, Step, Watch, Within,
};
use crate::saga::expression::Expression;

/// Hash of the meaning of `saga`.
pub(super) fn fingerprint(saga: &Saga) -> [u8; 32] {
    let Saga {
        name,
        version: _,
        mode: _,
        watch,
        attributes: _,
        steps,
        cancelled_by,
        within,
        brake: _,
        notify: _,
        text: _,
        fingerprint: _,
        roles: _,
    } = saga;
    let mut places: Vec<String> = watch.iter().map(|watch| watched(watch).to_string()).collect();
    places.sort();
    let steps: Vec<Value> = steps.iter().map(|each| step(each, steps)).collect();
    let whole = json!([name, places, steps, patterns(cancelled_by), within.0]);
    Sha256::digest(whole.to_string()).into()
}

fn watched(watch: &Watch) -> Value {
    let Watch { place, read } = watch;
    let Read { event, order_id, id, preset } = read;
    let place = match place {
        Place::Exchange { name, declare, keys } => json!([name, declare, keys]),
        Place::Http => Value::Null,
    };
    let order_id = match order_id {
        OrderIdFrom::Message(from) => selectors(from),
        OrderIdFrom::Arrival => json!("arrival"),
    };
    json!([place, selectors(event), order_id, selectors(id), preset])
}

fn selectors(selectors: &[Selector]) -> Value {
    let each = selectors.iter().map(|selector| match selector {
        Selector::Pointer(path) => json!(["pointer", path]),
        Selector::Envelope(path) => json!(["envelope", path]),
        Selector::RoutingKey => json!(["routing_key"]),
        Selector::RoutingKeyWord(word) => json!(["routing_key", word]),
        Selector::Exchange => json!(["exchange"]),
        Selector::Header(name) => json!(["header", name]),
        Selector::Property(name) => json!(["property", name]),
    });
    Value::Array(each.collect())
}

fn patterns(patterns: &[Pattern]) -> Value {
    let each = patterns.iter().map(|Pattern { event, condition }| json!([event, source(condition.as_ref())]));
    Value::Array(each.collect())
}

fn source(expression: Option<&Expression>) -> Value {
    expression.map_or(Value::Null, |expression| json!(expression.source()))
}

fn step(step: &Step, all: &[Step]) -> Value {
    let Step {
        name,
        after,
        when,
        condition,
        done,
        failed,
        on_failure,
        within,
        retry,
        on_timeout,
        late,
        compensation,
        count,
        by,
        handled_by: _,
    } = step;
    let mut after: Vec<&str> = after.iter().map(|&ix| all[ix].name.as_str()).collect();
    after.sort_unstable();
    let within = within.as_ref().map(|within| match within {
        Within::Fixed(span) => json!(span.0),
        Within::Computed(expression) => json!(expression.source()),
    });
    let on_failure = match on_failure {
        OnFailure::Compensate => "compensate",
        OnFailure::Alert => "alert",
        OnFailure::Wait => "wait",
    };
    let on_timeout = match on_timeout {
        OnTimeout::Alert => "alert",
        OnTimeout::Compensate => "compensate",
        OnTimeout::Skip => "skip",
    };
    let late = match late {
        Late::Compensate => "compensate",
        Late::Ignore => "ignore",
    };
    let retry = retry.as_ref().map(|Retry { cadence: rhythm, to, message }| {
        json!([cadence(rhythm), to, message.map(|ix| all[ix].name.as_str())])
    });
    json!([
        [name, after, patterns(when), source(condition.as_ref()), patterns(done), patterns(failed)],
        [on_failure, within, retry, on_timeout, late],
        [compensation.as_ref().map(undoing), source(count.as_ref()), selectors(by)],
    ])
}

fn cadence(cadence: &Cadence) -> Value {
    let Cadence { times, every, backoff } = cadence;
    json!([times, every.0, backoff])
}

fn undoing(compensation: &Compensation) -> Value {
    let Compensation { publish, done, failed, within, retry, handled_by: _ } = compensation;
    json!([
        publish.as_ref().map(publication),
        patterns(done),
        patterns(failed),
        within.map(|span| span.0),
        retry.as_ref().map(cadence)
    ])
}

fn publication(publish: &Publish) -> Value {
    let Publish { event, exchange, routing_key, headers, properties, body } = publish;
    json!([
        event,
        exchange,
        routing_key.as_ref().map(canonical),
        canonical_map(headers),
        canonical_map(properties),
        body.as_ref().map(canonical)
    ])
}
