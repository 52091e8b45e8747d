//! `escrow order ACTION` with filters: begins an action on many orders, says how far it is, and what became of them.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Map, Value, json};

use super::args::ActArgs;
use super::client::Client;
use super::failure::Failure;
use super::output::{Column, Output, Said, at, card, when};

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

/// How often it is looked how far an action is.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Refused orders shown; the API has the rest.
const REFUSED_SHOWN: &str = "20";

/// Acts on every order the filters name.
pub async fn act(
    client: &Client,
    action: &str,
    by: Option<String>,
    args: ActArgs,
    output: Output,
) -> Result<Said, Failure> {
    let filters = args.many.filters();
    if filters.is_empty() {
        let hint = "say ORDER_ID, or filters like --status stuck --reason-filter held";
        let why = match &args.saga {
            Some(saga) => format!("this would be every order of saga `{saga}`"),
            None => "which order?".to_owned(),
        };
        return Err(Failure::usage(why).with_hint(hint));
    }
    let filter: Map<String, Value> = filters
        .into_iter()
        .chain(args.saga.map(|saga| ("saga".to_owned(), saga)))
        .map(|(k, v)| (k, json!(v)))
        .collect();
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

async fn show(client: &Client, id: &str, output: Output) -> Result<Said, Failure> {
    let query = [("outcome", "refused"), ("limit", REFUSED_SHOWN)];
    let bulk = client.get(&["v1", "actions", id], &query).await?;
    let refused = bulk["results"].as_array().cloned().unwrap_or_default();
    Ok(output.one(&bulk, |it| {
        let stopped = format!("{} {}", at(it, "/stopped_by"), at(it, "/stopped_reason"));
        let head = card(&[
            ("action", format!("{} {}", at(it, "/action"), at(it, "/id"))),
            ("filter", at(it, "/filter")),
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

fn progress(bulk: &Value) -> String {
    let counts: Vec<String> = ["done", "refused", "gone", "left"]
        .into_iter()
        .filter(|name| bulk[*name] != 0)
        .map(|name| format!("{} {name}", bulk[name]))
        .collect();
    format!("{} in all: {}", bulk["total"], if counts.is_empty() { "none".to_owned() } else { counts.join(", ") })
}
