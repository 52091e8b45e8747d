//! Which orders a caller means: the filter of the order list, with every word checked.

use std::collections::BTreeSet;

use serde_json::Value;

use super::problem::{Problem, unknown};
use super::query::Params;
use crate::saga::catalog::Catalog;
use crate::saga::incident::About;
use crate::saga::incident::cause::Cause;
use crate::saga::order::{Status, StuckReason};
use crate::store::{NamedOrder, OrderFilter};

/// The parameters of the order list.
pub const NAMES: &[&str] = &[
    "order_id",
    "saga",
    "status",
    "waiting_on",
    "stuck_on",
    "reason",
    "incident",
    "older_than",
    "count",
    "limit",
    "cursor",
];

/// Those that say which orders are meant.
pub const FILTERS: &[&str] =
    &["order_id", "saga", "status", "waiting_on", "stuck_on", "reason", "incident", "older_than"];

/// Names orders one by one, in the filter of a bulk action alone: an address could not hold as many.
pub const ORDER_IDS: &str = "order_ids";

/// Most orders named one by one: what a person ticks, or a script has found. More are named by what they have in common.
const NAMED_MAX: usize = 1_000;

/// Longest order id there can be.
const ORDER_ID_BYTES_MAX: usize = 256;

/// What attribute filters begin with.
pub const ATTRIBUTE_PREFIX: &str = "attr.";

/// Reads the filter.
pub fn read(params: &Params, catalog: &Catalog) -> Result<OrderFilter, Problem> {
    let saga_names: Vec<&str> = catalog.newest_all().map(|saga| saga.name.as_str()).collect();
    let sagas =
        params.words("saga", "saga", &saga_names, |word| saga_names.contains(&word).then(|| word.to_owned()))?;
    let steps = step_names(catalog, &sagas);
    let step_list: Vec<&str> = steps.iter().copied().collect();
    let statuses: Vec<&str> = Status::ALL.iter().map(|it| it.word()).collect();
    let reasons: Vec<&str> = StuckReason::ALL.iter().map(|it| it.word()).collect();
    let mut filter = OrderFilter {
        order_id: params.text("order_id").map(str::to_owned),
        statuses: params.words("status", "status", &statuses, Status::from_word)?,
        waiting_on: params
            .words("waiting_on", "step", &step_list, |word| steps.contains(word).then(|| word.to_owned()))?,
        reasons: params.words("reason", "reason to be stuck", &reasons, StuckReason::from_word)?,
        older_than: params.span("older_than")?,
        attributes: attributes(params, catalog)?,
        stuck_step: stuck_step(params, &steps)?,
        named: Vec::new(),
        sagas,
    };
    if let Some(id) = params.text("incident") {
        narrow_to_incident(&mut filter, catalog, id)?;
    }
    Ok(filter)
}

/// Reads the orders of [`ORDER_IDS`]: each an id, or an id with its saga.
pub fn named(value: &Value, catalog: &Catalog) -> Result<Vec<NamedOrder>, Problem> {
    let items = value.as_array().filter(|items| !items.is_empty());
    let items = items.ok_or_else(|| wrong_names("`order_ids` is a list of order ids, and not empty"))?;
    if items.len() > NAMED_MAX {
        let why = format!("`order_ids` names at most {NAMED_MAX} orders; more are named by a filter");
        return Err(wrong_names(&why));
    }
    items.iter().map(|item| one_named(item, catalog)).collect()
}

fn one_named(item: &Value, catalog: &Catalog) -> Result<NamedOrder, Problem> {
    let shape = "`order_ids` holds order ids, or {\"saga\": …, \"order_id\": …} where an id may be in several sagas";
    let (order_id, saga) = match item {
        Value::String(id) => (id.as_str(), None),
        Value::Object(parts) => {
            let part = |name: &str| parts.get(name).and_then(Value::as_str);
            match (part("order_id"), part("saga")) {
                (Some(id), Some(saga)) if parts.len() == 2 => (id, Some(saga)),
                (_, _) => return Err(wrong_names(shape)),
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) => return Err(wrong_names(shape)),
    };
    if order_id.is_empty() || order_id.len() > ORDER_ID_BYTES_MAX || order_id.contains('\0') {
        return Err(wrong_names(&format!("an order id is text of 1 to {ORDER_ID_BYTES_MAX} bytes")));
    }
    if let Some(saga) = saga.filter(|saga| catalog.newest(saga).is_none()) {
        let names = catalog.newest_all().map(|saga| saga.name.as_str());
        return Err(wrong_names(&unknown("saga", saga, names)));
    }
    Ok(NamedOrder { order_id: order_id.to_owned(), saga: saga.map(str::to_owned) })
}

fn wrong_names(why: &str) -> Problem {
    Problem::body("/filter/order_ids", why)
}

/// The step that holds orders up.
fn stuck_step(params: &Params, steps: &BTreeSet<&str>) -> Result<Option<String>, Problem> {
    match params.text("stuck_on") {
        Some(name) if !steps.contains(name) => {
            Err(Problem::parameter("stuck_on", unknown("step", name, steps.iter().copied())))
        }
        name => Ok(name.map(str::to_owned)),
    }
}

/// The names of all steps of all versions of these sagas, or of all sagas.
pub fn step_names<'a>(catalog: &'a Catalog, sagas: &[String]) -> BTreeSet<&'a str> {
    catalog
        .all()
        .filter(|saga| sagas.is_empty() || sagas.contains(&saga.name))
        .flat_map(|saga| saga.steps.iter().map(|step| step.name.as_str()))
        .collect()
}

fn attributes(params: &Params, catalog: &Catalog) -> Result<Vec<(String, String)>, Problem> {
    let known: BTreeSet<&str> =
        catalog.all().flat_map(|saga| saga.attributes.iter().map(|(name, _)| name.as_str())).collect();
    params
        .prefixed(ATTRIBUTE_PREFIX)
        .map(|(name, value)| {
            if known.contains(name) {
                Ok((name.to_owned(), value.to_owned()))
            } else {
                let parameter = format!("{ATTRIBUTE_PREFIX}{name}");
                Err(Problem::parameter(&parameter, unknown("attribute", name, known.iter().copied())))
            }
        })
        .collect()
}

/// An incident's id is derived from what it is about, so the few there can be are tried.
fn narrow_to_incident(filter: &mut OrderFilter, catalog: &Catalog, id: &str) -> Result<(), Problem> {
    let wrong = |why: &str| Problem::parameter("incident", why);
    let Some((cause, saga, step)) = about(catalog, id) else {
        return Err(wrong("there is no such incident"));
    };
    let contradicts = |given: &[String], own: &str| !given.is_empty() && !given.iter().any(|it| it == own);
    match (cause, step) {
        (Cause::Stuck(reason), step) => {
            let other_reason = !filter.reasons.is_empty() && !filter.reasons.contains(&reason);
            let other_step = filter.stuck_step.is_some() && filter.stuck_step != step;
            if contradicts(&filter.sagas, &saga) || other_reason || other_step {
                return Err(wrong("the incident is not of that saga, step and reason"));
            }
            filter.reasons = vec![reason];
            filter.stuck_step = step;
        }
        (cause, Some(step)) if cause.waits_on_step() => {
            if contradicts(&filter.sagas, &saga) || contradicts(&filter.waiting_on, &step) {
                return Err(wrong("the incident is not of that saga and step"));
            }
            filter.waiting_on = vec![step];
        }
        (_, _) => return Err(wrong("the incident does not name its orders: it is not about single ones")),
    }
    filter.sagas = vec![saga];
    Ok(())
}

fn about(catalog: &Catalog, id: &str) -> Option<(Cause, String, Option<String>)> {
    let mut sagas = catalog.newest_all().map(|saga| saga.name.as_str()).chain(std::iter::once(""));
    sagas.find_map(|saga| {
        let names = [saga.to_owned()];
        let steps = if saga.is_empty() { BTreeSet::new() } else { step_names(catalog, &names) };
        std::iter::once(None).chain(steps.into_iter().map(Some)).find_map(|step| {
            let cause = Cause::all().find(|cause| About::new(*cause, saga, step).id() == id)?;
            Some((cause, saga.to_owned(), step.map(str::to_owned)))
        })
    })
}
