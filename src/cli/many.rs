//! `escrow order ACTION` with several ids or with filters: begins an action on many orders, says how far it is, and what became of them.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Map, Value, json};

use super::args::{ActArgs, PageArgs};
use super::client::Client;
use super::failure::Failure;
use super::listing::Listing;
use super::output::{Column, Output, Said, Shape, at, card, when};

const SAMPLES: [Column; 4] = [
    ("SAGA", |row| at(row, "/saga")),
    ("ORDER", |row| at(row, "/order_id")),
    ("STATUS", |row| at(row, "/status")),
    ("WHY", |row| at(row, "/why")),
];

const REFUSED: [Column; 3] = [
    ("SAGA", |row| at(row, "/saga")),
    ("ORDER", |row| at(row, "/order_id")),
    ("REFUSED BECAUSE", |row| at(row, "/detail")),
];

const ACTIONS: Shape = Shape {
    columns: &[
        ("ID", |row| at(row, "/id")),
        ("STATUS", |row| at(row, "/status")),
        ("ACTION", |row| at(row, "/action")),
        ("ORDERS", progress),
        ("WHICH", filter),
        ("BY", |row| at(row, "/actor")),
        ("BEGAN", |row| when(row, "/created_at")),
        ("REASON", |row| at(row, "/reason")),
    ],
    fields: &[
        "id",
        "status",
        "action",
        "step",
        "by",
        "filter",
        "named",
        "actor",
        "reason",
        "per_second",
        "total",
        "done",
        "refused",
        "gone",
        "left",
        "created_at",
        "ended_at",
        "stopped_by",
        "stopped_reason",
    ],
};

/// How often it is looked how far an action is.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Refused orders shown; the API has the rest.
const REFUSED_SHOWN: &str = "20";

/// Acts on the orders named, or on every order the filters name.
pub async fn act(
    client: &Client,
    action: &str,
    by: Option<String>,
    args: ActArgs,
    output: Output,
) -> Result<Said, Failure> {
    let filters = args.many.filters();
    let named = resolved(client, &args).await?;
    if filters.is_empty() && named.is_empty() {
        let hint = "say ORDER_ID, or filters like --status stuck --reason-filter held";
        let why = match &args.saga {
            Some(saga) => format!("this would be every order of saga `{saga}`"),
            None => "which order?".to_owned(),
        };
        return Err(Failure::usage(why).with_hint(hint));
    }
    // Orders that are named have their saga.
    let saga = args.saga.filter(|_| named.is_empty());
    let mut filter: Map<String, Value> =
        filters.into_iter().chain(saga.map(|saga| ("saga".to_owned(), saga))).map(|(k, v)| (k, json!(v))).collect();
    if !named.is_empty() {
        filter.insert("order_ids".to_owned(), Value::Array(named));
    }
    let mut body = json!({"filter": filter, "action": action, "dry_run": args.many.dry_run});
    for (name, value) in [("step", args.step), ("by", by), ("reason", args.reason)] {
        if let Some(value) = value {
            body[name] = Value::String(value);
        }
    }
    if let Some(rate) = args.many.per_second {
        body["per_second"] = json!(rate);
    }
    let key = args.idempotency_key.unwrap_or_else(|| uuid::Uuid::new_v4().to_string());
    let begun = client.ask(Method::POST, &["v1", "actions"], &body, Some(&key)).await?;
    if args.many.dry_run {
        let samples = begun["samples"].as_array().cloned().unwrap_or_default();
        return Ok(output.one(&begun, |it| {
            format!("{action} would be asked of {} orders\n\n{}", at(it, "/count"), output.table(&samples, &SAMPLES))
        }));
    }
    let id = at(&begun, "/id");
    if !args.many.no_wait {
        wait(client, &id, begun, output).await?;
    }
    show(client, &id, output).await
}

/// The orders named, each with its saga.
async fn resolved(client: &Client, args: &ActArgs) -> Result<Vec<Value>, Failure> {
    let mut named = Vec::with_capacity(args.orders.len());
    for order in &args.orders {
        let (saga, id) = client.resolve(order, args.saga.as_deref()).await?;
        named.push(json!({"saga": saga, "order_id": id}));
    }
    Ok(named)
}

/// Waits until an action is done or stopped, and says how far it is meanwhile.
async fn wait(client: &Client, id: &str, mut bulk: Value, output: Output) -> Result<(), Failure> {
    output.progress(&format!("action {id}; `escrow order bulk {id} --stop --reason …` stops it"));
    let mut said = String::new();
    loop {
        let progress = progress(&bulk);
        if progress != said {
            output.progress(&progress);
            said = progress;
        }
        if bulk["status"] != "running" {
            return Ok(());
        }
        tokio::time::sleep(LOOK_EVERY).await;
        bulk = client.get(&["v1", "actions", id], &[("limit", "1")]).await?;
    }
}

/// `escrow order bulk`: shows an action, or stops it.
pub async fn bulk(client: &Client, id: &str, stop: Option<String>, output: Output) -> Result<Said, Failure> {
    if let Some(reason) = stop {
        client.ask(Method::POST, &["v1", "actions", id, "stop"], &json!({"reason": reason}), None).await?;
    }
    show(client, id, output).await
}

/// `escrow order bulk` without an id: the actions there were, the newest first.
pub async fn list(client: &Client, page: &PageArgs, output: Output) -> Result<Said, Failure> {
    let list = Listing { parts: &["v1", "actions"], query: &[], name: "actions", shape: &ACTIONS };
    list.show(client, page, output).await
}

async fn show(client: &Client, id: &str, output: Output) -> Result<Said, Failure> {
    let query = [("outcome", "refused"), ("limit", REFUSED_SHOWN)];
    let bulk = client.get(&["v1", "actions", id], &query).await?;
    let refused = bulk["results"].as_array().cloned().unwrap_or_default();
    Ok(output.one(&bulk, |it| {
        let stopped = format!("{} {}", at(it, "/stopped_by"), at(it, "/stopped_reason"));
        let head = card(&[
            ("action", format!("{} {}", at(it, "/action"), at(it, "/id"))),
            ("filter", filter(it)),
            ("status", at(it, "/status")),
            ("orders", progress(it)),
            ("by", at(it, "/actor")),
            ("reason", at(it, "/reason")),
            ("began", when(it, "/created_at")),
            ("ended", when(it, "/ended_at")),
            ("stopped by", stopped.trim().to_owned()),
        ]);
        if refused.is_empty() { head } else { format!("{head}\n{}", output.table(&refused, &REFUSED)) }
    }))
}

/// Which orders it is about.
fn filter(bulk: &Value) -> String {
    let said = if bulk["filter"].as_object().is_some_and(Map::is_empty) { String::new() } else { at(bulk, "/filter") };
    match bulk["named"].as_u64() {
        None => said,
        Some(count) if said.is_empty() => format!("{count} named by their ids"),
        Some(count) => format!("{count} named by their ids, of these {said}"),
    }
}

fn progress(bulk: &Value) -> String {
    let counts: Vec<String> = ["done", "refused", "gone", "left"]
        .into_iter()
        .filter(|name| bulk[*name] != 0)
        .map(|name| format!("{} {name}", bulk[name]))
        .collect();
    format!("{} in all: {}", bulk["total"], if counts.is_empty() { "none".to_owned() } else { counts.join(", ") })
}
