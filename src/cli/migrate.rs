//! `escrow saga migrate` and `escrow saga version`: a page of orders at a time, until none is left.

use reqwest::Method;
use serde_json::{Value, json};

use super::args::MigrateOrders;
use super::client::Client;
use super::failure::Failure;
use super::output::{Column, Output, Said, at, card, when};

/// Orders asked for at once: one call stays within a few transactions.
const PAGE: &str = "200";

/// Most orders shown to people; programs get all of them.
const SHOWN: usize = 50;

const ORDERS: [Column; 6] = [
    ("ORDER", |row| at(row, "/order_id")),
    ("OUTCOME", |row| at(row, "/outcome")),
    ("CHANGES", changes),
    ("NEXT DEADLINE", next_deadline),
    ("MAY HAVE MISSED", |row| at(row, "/missed")),
    ("WHY", |row| at(row, "/why")),
];

const FIELDS: [&str; 8] = ["order_id", "outcome", "why", "sequence", "changes", "deadlines", "asks", "missed"];

const COUNTS: [&str; 5] = ["moved", "already", "refused", "due", "unproven"];

/// Moves all orders meant.
pub async fn migrate(client: &Client, args: &MigrateOrders, output: Output) -> Result<Said, Failure> {
    let body = json!({"from": args.from, "to": args.to, "order_id": args.order, "rearm": args.rearm,
        "dry_run": args.dry_run, "reason": args.reason});
    let parts = ["v1", "sagas", &args.saga, "migrate"];
    let filter = filter(args);
    let mut whole = json!({"saga": args.saga, "from": args.from, "to": args.to, "dry_run": args.dry_run});
    let (mut orders, mut counts, mut cursor) = (Vec::new(), [0; COUNTS.len()], None::<String>);
    loop {
        let mut query: Vec<(&str, &str)> = filter.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        query.push(("limit", PAGE));
        query.extend(cursor.as_deref().map(|cursor| ("cursor", cursor)));
        let mut page = client.ask_page(Method::POST, &parts, &query, &body).await.map_err(|failure| {
            let done = orders.len();
            if done == 0 {
                failure
            } else {
                failure.with_hint(format!("{done} orders were dealt with; repeat it to go on"))
            }
        })?;
        if let Some(Value::Array(rows)) = page.get_mut("orders").map(Value::take) {
            orders.extend(rows);
        }
        for (count, name) in counts.iter_mut().zip(COUNTS) {
            *count += page["counts"][name].as_u64().unwrap_or(0);
        }
        whole["as_of"] = page["as_of"].clone();
        cursor = page["next_cursor"].as_str().map(str::to_owned);
        if cursor.is_none() {
            break;
        }
    }
    whole["counts"] = COUNTS.into_iter().zip(counts).map(|(name, count)| (name.to_owned(), json!(count))).collect();
    whole["orders"] = Value::Array(orders.clone());
    Ok(Said::text(output.report(&whole, &orders, &FIELDS, || shown(&whole, &orders, output))))
}

/// Chooses the version that opens new orders.
pub async fn version(client: &Client, saga: &str, version: u32, reason: &str, output: Output) -> Result<Said, Failure> {
    let body = json!({"version": version, "reason": reason});
    let answer = client.ask(Method::PUT, &["v1", "sagas", saga, "version"], &body, None).await?;
    Ok(output.one(&answer, |it| {
        let waits = if it["version"] == it["opens"] { "" } else { " once its bindings stand" };
        format!("new orders of saga {} open on version {}{waits}\n", at(it, "/saga"), at(it, "/version"))
    }))
}

fn filter(args: &MigrateOrders) -> Vec<(String, String)> {
    let named = [
        ("status", &args.status),
        ("waiting_on", &args.waiting_on),
        ("reason", &args.stuck),
        ("incident", &args.incident),
        ("older_than", &args.older_than),
    ];
    let named = named.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value.clone()?)));
    let attributes = args.attributes.iter().map(|(name, value)| (format!("attr.{name}"), value.clone()));
    named.chain(attributes).collect()
}

fn shown(whole: &Value, orders: &[Value], output: Output) -> String {
    let is_rehearsed = whole["dry_run"] == true;
    let count = |name: &str| match at(whole, &format!("/counts/{name}")) {
        none if none == "0" => String::new(),
        some => some,
    };
    let head = card(&[
        ("saga", format!("{}, version {} to {}", at(whole, "/saga"), at(whole, "/from"), at(whole, "/to"))),
        (if is_rehearsed { "would move" } else { "moved" }, at(whole, "/counts/moved")),
        ("there already", count("already")),
        ("refused", count("refused")),
        ("deadline due", count("due")),
        ("unproven", count("unproven")),
        ("as of", when(whole, "/as_of")),
    ]);
    // What stands in the way first.
    let (refused, others): (Vec<&Value>, Vec<&Value>) = orders.iter().partition(|row| row["outcome"] == "refused");
    let rows: Vec<Value> = refused.into_iter().chain(others).take(SHOWN).cloned().collect();
    let table = if rows.is_empty() { String::new() } else { format!("\n{}", output.table(&rows, &ORDERS)) };
    let more = orders.len().saturating_sub(SHOWN);
    let more = if more == 0 { String::new() } else { format!("and {more} more; `-o jsonl` shows all\n") };
    let end = if is_rehearsed { "nothing was changed\n" } else { "" };
    format!("{head}{table}{more}{end}")
}

fn changes(row: &Value) -> String {
    let status = |value: &Value| value.as_str().unwrap_or("absent").to_owned();
    let steps = row["changes"].as_array().into_iter().flatten();
    let mut said: Vec<String> =
        steps.map(|it| format!("{} {}→{}", at(it, "/step"), status(&it["from"]), status(&it["to"]))).collect();
    if !row["order"].is_null() {
        said.push(format!("order {}→{}", at(row, "/order/from"), at(row, "/order/to")));
    }
    said.extend(row["asks"].as_array().into_iter().flatten().map(|it| format!("asks {}", it.as_str().unwrap_or(""))));
    said.join(", ")
}

fn next_deadline(row: &Value) -> String {
    let Some(first) = row["deadlines"].as_array().and_then(|all| all.first()) else { return String::new() };
    let what = match at(first, "/step") {
        none if none.is_empty() => at(first, "/of"),
        step => step,
    };
    let due = if first["due"] == true { ", due" } else { "" };
    format!("{what} {}{due}", when(first, "/at"))
}
