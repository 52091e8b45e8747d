//! `escrow peek`: what is on the bus, for writing the first definition.
//!
//! ```text
//!   is the tap known to be bound there, or --force? ─▶ look ─▶ gather ─▶ table, or JSON ─▶ a definition to begin with
//! ```
//!
//! The end of the look takes its binding away, and the broker deletes an auto-delete exchange with its last binding: the services'
//! next publish would fail. AMQP cannot say what else is bound, so a running Escrow is asked, and without its word nothing is
//! bound unless a person says so.

mod draft;
mod gather;
mod guess;
mod record;

use std::fs::File;
use std::io::Write as _;
use std::path::Path;

use serde_json::{Value, json};

use self::gather::{EventSeen, Gathered, OrderIdSeen};
use self::record::Record;
use super::args::{Format, PageArgs, PeekArgs};
use super::client::Client;
use super::failure::{FAILURE, Failure, NOT_ALLOWED, NOT_FOUND, UNAVAILABLE};
use super::output::{Column, Output, Said, at, card, lines, plain, pretty};
use super::start::Start;
use crate::bus::{BusError, Delivery, PeekError, Peeked};
use crate::config::PeekConfig;
use crate::saga::time::Span;

/// Candidates shown; the others are in the JSON.
const ORDER_IDS_SHOWN: usize = 5;
/// Routing keys shown of one event; a key may hold ids.
const KEYS_SHOWN: usize = 8;

const ORDER_IDS: [Column; 4] = [
    ("ORDER ID?", |row| at(row, "/selector")),
    ("IN MESSAGES", |row| at(row, "/messages")),
    ("VALUES", |row| at(row, "/distinct")),
    ("IN SEVERAL EVENTS", |row| at(row, "/linking")),
];

/// An event in a spreadsheet.
const EVENT: [&str; 8] =
    ["event", "messages", "found", "routing_keys", "content_types", "with_message_id", "order_ids", "sample"];

/// Runs the command.
pub async fn run(args: PeekArgs, output: Output, program: &dyn Start) -> Result<Said, Failure> {
    let PeekArgs { amqp_url, exchanges, keys, run_for, count, record, name, force, server } = args;
    let shown = exchanges.join(", ");
    if !force {
        let client = Client::new(server)?;
        for exchange in &exchanges {
            watches(&client, &name, exchange).await.map_err(|why| refusal(exchange, &why))?;
        }
    }
    // Before the look: minutes of it are not to be lost to a file that cannot be written.
    let record = record.map(|file| create(&file).map(|into| (file, into))).transpose()?;
    if output.format == Format::Table {
        let long = Span(i64::try_from(run_for.as_micros()).unwrap_or(i64::MAX));
        eprintln!("looking at {} for {long}, or {count} messages; Ctrl-C ends it with what there is", plain(&shown));
    }
    let config = PeekConfig {
        amqp_url,
        exchanges: exchanges.clone(),
        keys: keys.clone(),
        beside: (!force).then_some(name),
        run_for,
        messages_max: count,
    };
    let peeked = program.peek(config).await.map_err(|error| failure(&shown, error))?;
    let note = record.map(|(file, into)| write_down(&peeked, &file, into)).transpose()?;
    let deliveries: Vec<Delivery> = peeked.into_iter().map(|it| it.delivery).collect();
    let seen = gather::gather(&deliveries);
    let definition = draft::draft(&exchanges, keys.as_deref(), &seen);
    let value = report(&exchanges, &seen, definition.as_deref());
    let text = match output.format {
        Format::Table => screen(&shown, &value, definition.as_deref(), output),
        Format::Json => pretty(&value),
        Format::Jsonl => lines(&by_line(value)),
        Format::Csv => output.report(&value, &events_of(&value), &EVENT, String::new),
    };
    Ok(Said { text, note, exit: 0 })
}

/// A file that was not there.
fn create(file: &Path) -> Result<File, Failure> {
    File::create_new(file).map_err(|error| Failure::new(FAILURE, "unwritable", format!("{}: {error}", file.display())))
}

fn write_down(peeked: &[Peeked], file: &Path, mut into: File) -> Result<String, Failure> {
    let Record { text, left_out } = record::record(peeked);
    let named = file.display();
    into.write_all(text.as_bytes())
        .map_err(|error| Failure::new(FAILURE, "unwritable", format!("{named}: {error}")))?;
    let but = if left_out == 0 { String::new() } else { format!(", without {left_out} that are no text") };
    Ok(format!(
        "{} messages written to {named}{but}; try a definition on them: escrow try FILE --events {named}",
        text.lines().count()
    ))
}

/// Whether an Escrow called `name` watches the exchange now.
///
/// # Errors
/// It does not, or that cannot be known; in words.
async fn watches(client: &Client, name: &str, exchange: &str) -> Result<(), String> {
    let not_known = |failure: Failure| failure.message;
    let status = client.get(&["v1", "status"], &[]).await.map_err(not_known)?;
    if status["name"] != name {
        return Err(format!("the Escrow that answers is called `{}`, not `{name}`", at(&status, "/name")));
    }
    if status["bus"]["consuming_connected"] != true {
        return Err("the Escrow that answers has no connection to the broker".to_owned());
    }
    let sagas = client.list(&["v1", "sagas"], &[], "sagas", &PageArgs::whole()).await.map_err(not_known)?;
    for saga in sagas.items {
        // Without a watermark the bindings of the saga may never have stood.
        let is_bound = saga["sight"] != "blind" && !saga["as_of"].is_null() && saga["unbound"].get(exchange).is_none();
        let detail = client.get(&["v1", "sagas", &at(&saga, "/saga")], &[]).await.map_err(not_known)?;
        let is_watched = detail["watch"].as_array().is_some_and(|all| all.iter().any(|it| it == exchange));
        if is_bound && is_watched {
            return Ok(());
        }
    }
    Err(format!("none of its sagas has the tap bound to `{exchange}`"))
}

fn refusal(exchange: &str, why: &str) -> Failure {
    let message = format!(
        "the tap is not known to be bound to `{exchange}` ({why}); if the look's own binding were the only one, an auto-delete \
         exchange would be deleted with it, and the services' next publish would fail"
    );
    Failure::new(FAILURE, "not_bound", message).with_hint(
        "name an Escrow that watches the exchange with --server and --name; or, if the exchange is not auto-delete or a service's \
         queue stays bound to it, look with --force",
    )
}

fn failure(exchange: &str, error: anyhow::Error) -> Failure {
    match error.downcast_ref::<PeekError>() {
        Some(PeekError::NoExchange(_)) => Failure::new(NOT_FOUND, "no_exchange", error.to_string())
            .with_hint("it may not be declared yet, or be on another virtual host than --amqp-url says"),
        Some(PeekError::NoTap(_)) => refusal(exchange, &error.to_string()),
        Some(PeekError::Bus(BusError::Disconnected(_))) => Failure::new(UNAVAILABLE, "unavailable", error.to_string()),
        Some(PeekError::Bus(BusError::Misconfigured(_))) => Failure::new(NOT_ALLOWED, "refused", error.to_string()),
        None => error.into(),
    }
}

fn report(exchanges: &[String], seen: &Gathered, definition: Option<&str>) -> Value {
    json!({
        "exchanges": exchanges,
        "messages": seen.messages,
        "own": seen.own,
        "events": seen.events.iter().map(event).collect::<Vec<_>>(),
        "order_ids": seen.order_ids.iter().map(|id| order_id(id, seen.messages)).collect::<Vec<_>>(),
        "definition": definition,
    })
}

fn event(event: &EventSeen) -> Value {
    let found = event.found.iter().map(|(way, count)| json!({"read": way.text(), "messages": count}));
    json!({
        "event": event.name,
        "messages": event.count,
        "found": found.collect::<Vec<_>>(),
        "routing_keys": event.routing_keys,
        "content_types": event.content_types,
        "with_message_id": event.with_message_id,
        "order_ids": event.order_ids,
        "sample": event.sample,
    })
}

fn order_id(id: &OrderIdSeen, messages: usize) -> Value {
    json!({
        "selector": id.selector, "messages": id.present, "of": messages, "distinct": id.distinct, "linking": id.linking,
    })
}

fn events_of(report: &Value) -> Vec<Value> {
    report["events"].as_array().cloned().unwrap_or_default()
}

/// Each event by itself, then the rest.
fn by_line(mut report: Value) -> Vec<Value> {
    let Value::Array(mut all) = report["events"].take() else { return vec![report] };
    if let Some(fields) = report.as_object_mut() {
        fields.remove("events");
    }
    all.push(report);
    all
}

fn screen(exchange: &str, report: &Value, definition: Option<&str>, output: Output) -> String {
    let rows = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let own = if report["own"] == 0 { String::new() } else { format!(", and {} of Escrow's own", report["own"]) };
    let mut text = plain(&format!("{exchange}: {} messages{own}", report["messages"])) + "\n";
    for event in rows(&report["events"]) {
        text.push('\n');
        text += &card(&[
            ("event", event["event"].as_str().unwrap_or("(no name found)").to_owned()),
            ("messages", at(&event, "/messages")),
            ("found by", rows(&event["found"]).iter().map(|it| at(it, "/read")).collect::<Vec<_>>().join(", ")),
            ("routing keys", shortened(&rows(&event["routing_keys"]))),
            ("content type", at(&event, "/content_types")),
            ("message id", format!("in {} of {}", event["with_message_id"], event["messages"])),
            ("order id?", at(&event, "/order_ids")),
            ("sample", at(&event, "/sample")),
        ]);
    }
    let order_ids: Vec<Value> = rows(&report["order_ids"]).into_iter().take(ORDER_IDS_SHOWN).collect();
    if !order_ids.is_empty() {
        text.push('\n');
        text += &output.table(&order_ids, &ORDER_IDS);
    }
    text.push('\n');
    text += definition.unwrap_or(
        "nothing to begin a definition with: no message with an event name came. Look longer with --for, or while the \
         services are busy\n",
    );
    text
}

fn shortened(keys: &[Value]) -> String {
    let shown = keys.iter().take(KEYS_SHOWN).filter_map(Value::as_str);
    let mut shown: Vec<&str> = shown.map(|key| if key.is_empty() { "(empty)" } else { key }).collect();
    if keys.len() > KEYS_SHOWN {
        shown.push("…");
    }
    shown.join(", ")
}
