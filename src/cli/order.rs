//! `escrow order`: find orders, see why they wait, act on them.

use reqwest::Method;
use serde_json::{Value, json};

use super::args::{ActArgs, ListOrders, OrderCommand, OrderRef};
use super::client::Client;
use super::failure::Failure;
use super::listing::Listing;
use super::many;
use super::output::{Column, Output, Said, Shape, at, card, plain, when};
use super::why;

const LIST: Shape = Shape {
    columns: &[
        ("SAGA", |row| at(row, "/saga")),
        ("ORDER", |row| at(row, "/order_id")),
        ("STATUS", status),
        ("DONE", progress),
        ("CREATED", |row| when(row, "/created_at")),
        ("WHY", |row| at(row, "/why")),
    ],
    fields: &[
        "saga",
        "order_id",
        "version",
        "status",
        "stuck.reason",
        "stuck.step",
        "stuck.since",
        "stuck.detail",
        "stuck.incident",
        "progress.done",
        "progress.total",
        "waiting_on",
        "next.action",
        "next.step",
        "next.at",
        "unproven",
        "attributes",
        "duplicates",
        "created_at",
        "updated_at",
        "ended_at",
        "sequence",
        "as_of",
        "why",
    ],
};

const STEPS: [Column; 6] = [
    ("STEP", |row| at(row, "/step")),
    ("STATUS", |row| at(row, "/status")),
    ("EVENT", |row| at(row, if row["event"].is_null() { "/failure" } else { "/event" })),
    ("OPENED", |row| when(row, "/opened_at")),
    ("DEADLINE", |row| when(row, "/deadline")),
    ("CLOSED", |row| when(row, "/closed_at")),
];

const TRAIL: Shape = Shape {
    columns: &[
        ("#", |row| at(row, "/sequence")),
        ("AT", |row| when(row, "/at")),
        ("KIND", |row| at(row, "/kind")),
        ("NAME", |row| at(row, "/name")),
        ("CHANGES", changes),
        ("ACTOR", |row| at(row, "/actor")),
        ("REASON", |row| at(row, "/reason")),
    ],
    fields: &[
        "saga",
        "order_id",
        "sequence",
        "at",
        "kind",
        "name",
        "step",
        "changes",
        "order.from",
        "order.to",
        "migrated.from",
        "migrated.to",
        "message.id",
        "message.exchange",
        "message.routing_key",
        "message.source",
        "message.timestamp",
        "published",
        "would_send",
        "actor",
        "reason",
        "inferred",
        "unproven",
        "hash",
    ],
};

/// Runs one of its commands.
pub async fn run(client: &Client, command: OrderCommand, output: Output) -> Result<Said, Failure> {
    match command {
        OrderCommand::Get { order, watch } => watch.follow(output, async || get(client, &order, output).await).await,
        OrderCommand::Why { order, watch } => {
            let look = async || {
                let (saga, id) = client.resolve(&order.order, order.saga.as_deref()).await?;
                let known = why::look(client, &saga, &id).await?;
                Ok(output.one(&known, |it| why::screen(it, output.width())))
            };
            watch.follow(output, look).await
        }
        OrderCommand::List(list) => list_orders(client, &list, output).await,
        OrderCommand::Audit { order, page } => {
            let (saga, id) = client.resolve(&order.order, order.saga.as_deref()).await?;
            let parts = ["v1", "sagas", &saga, "orders", &id, "audit"];
            let list = Listing { parts: &parts, query: &[], name: "entries", shape: &TRAIL };
            list.show(client, &page, output).await
        }
        OrderCommand::Retry(args) => act(client, "retry", None, args, output).await,
        OrderCommand::Skip(args) => act(client, "skip", None, args, output).await,
        OrderCommand::Extend { act: args, by } => act(client, "extend", Some(by), args, output).await,
        OrderCommand::Compensate(args) => act(client, "compensate", None, args, output).await,
        OrderCommand::Release(args) => act(client, "release", None, args, output).await,
        OrderCommand::Drop(args) => act(client, "drop", None, args, output).await,
        OrderCommand::Close(args) => act(client, "close", None, args, output).await,
        OrderCommand::Note(args) => act(client, "note", None, args, output).await,
        OrderCommand::Bulk { id, reason, stop: _, page } => match id {
            Some(id) => many::bulk(client, &id, reason, output).await,
            None => many::list(client, &page, output).await,
        },
    }
}

async fn find(client: &Client, order: &OrderRef) -> Result<Value, Failure> {
    let (saga, id) = client.resolve(&order.order, order.saga.as_deref()).await?;
    client.get(&["v1", "sagas", &saga, "orders", &id], &[]).await
}

async fn get(client: &Client, order: &OrderRef, output: Output) -> Result<Said, Failure> {
    let found = find(client, order).await?;
    Ok(output.one(&found, |it| {
        let steps = it["steps"].as_array().map_or(&[][..], Vec::as_slice);
        let head = card(&[
            ("order", format!("{}/{}", at(it, "/saga"), at(it, "/order_id"))),
            ("status", status(it)),
            ("why", at(it, "/why")),
            ("done", progress(it)),
            ("next", next(it)),
            ("unproven", at(it, "/unproven")),
            ("attributes", at(it, "/attributes")),
            ("created", when(it, "/created_at")),
            ("ended", when(it, "/ended_at")),
            ("version", at(it, "/version")),
            ("as of", when(it, "/as_of")),
        ]);
        format!("{head}\n{}", output.table(steps, &STEPS))
    }))
}

async fn list_orders(client: &Client, list: &ListOrders, output: Output) -> Result<Said, Failure> {
    let named = [
        ("saga", &list.saga),
        ("status", &list.status),
        ("waiting_on", &list.waiting_on),
        ("reason", &list.reason),
        ("incident", &list.incident),
        ("older_than", &list.older_than),
        ("order_id", &list.order_id),
    ];
    let attributes: Vec<(String, &str)> =
        list.attributes.iter().map(|(name, value)| (format!("attr.{name}"), value.as_str())).collect();
    let mut query: Vec<(&str, &str)> =
        named.iter().filter_map(|(name, value)| Some((*name, value.as_deref()?))).collect();
    query.extend(attributes.iter().map(|(name, value)| (name.as_str(), *value)));
    let orders = Listing { parts: &["v1", "orders"], query: &query, name: "orders", shape: &LIST };
    orders.show(client, &list.page, output).await
}

async fn act(
    client: &Client,
    action: &str,
    by: Option<String>,
    args: ActArgs,
    output: Output,
) -> Result<Said, Failure> {
    let [order] = args.orders.as_slice() else {
        return many::act(client, action, by, args, output).await;
    };
    if args.many.is_given() {
        return Err(Failure::usage("one order is named: filters, rate and dry run are for many")
            .with_hint("leave out the id, or the filters"));
    }
    let (saga, id) = client.resolve(order, args.saga.as_deref()).await?;
    let key = args.idempotency_key.unwrap_or_else(|| uuid::Uuid::new_v4().to_string());
    let mut body = json!({"action": action, "reason": args.reason});
    for (name, value) in [("step", args.step), ("by", by)] {
        if let Some(value) = value {
            body[name] = Value::String(value);
        }
    }
    let parts = ["v1", "sagas", &saga, "orders", &id, "actions"];
    let answer = client.ask(Method::POST, &parts, &body, Some(&key)).await?;
    Ok(output.one(&answer, |it| {
        let order = plain(&format!("{saga}/{id}"));
        format!("{action} of {order} is entry {} of its trail\n", at(it, "/sequence"))
    }))
}

fn status(row: &Value) -> String {
    let status = at(row, "/status");
    let reason = at(row, "/stuck/reason");
    if reason.is_empty() { status } else { format!("{status} ({reason})") }
}

fn progress(row: &Value) -> String {
    format!("{}/{}", at(row, "/progress/done"), at(row, "/progress/total"))
}

fn next(row: &Value) -> String {
    if row["next"].is_null() {
        return String::new();
    }
    let step = at(row, "/next/step");
    let step = if step.is_empty() { step } else { format!(" ({step})") };
    format!("{}{step} at {}", at(row, "/next/action"), when(row, "/next/at"))
}

fn changes(row: &Value) -> String {
    let mut said: Vec<String> = row["changes"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|it| format!("{} {}→{}", at(it, "/step"), at(it, "/from"), at(it, "/to")))
        .collect();
    if !row["migrated"].is_null() {
        said.push(format!("version {}→{}", at(row, "/migrated/from"), at(row, "/migrated/to")));
    }
    if !row["order"].is_null() {
        said.push(format!("order {}→{}", at(row, "/order/from"), at(row, "/order/to")));
    }
    said.join(", ")
}
