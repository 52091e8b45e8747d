//! `escrow saga events`: which events a saga names, which it met, and what is missing on either side.

use std::fmt::Write as _;

use serde_json::Value;

use super::client::Client;
use super::failure::Failure;
use super::output::{Column, Output, Said, at, plain, when};

const EVENTS: [Column; 5] = [
    ("EVENT", |row| at(row, "/event")),
    ("SEEN", |row| at(row, "/seen")),
    ("LAST", |row| when(row, "/last_at")),
    ("FROM", exchanges),
    ("USED BY", uses),
];

/// An event in a spreadsheet.
const FIELDS: [&str; 5] = ["event", "seen", "last_at", "exchanges", "used_by"];

/// Looks once.
pub async fn look(client: &Client, saga: &str, output: Output) -> Result<Said, Failure> {
    let found = client.get(&["v1", "sagas", saga, "events"], &[]).await?;
    let events = rows(&found, "events");
    Ok(Said::text(output.report(&found, &events, &FIELDS, || screen(&found, &events, output))))
}

fn rows(found: &Value, name: &str) -> Vec<Value> {
    found[name].as_array().cloned().unwrap_or_default()
}

fn screen(found: &Value, events: &[Value], output: Output) -> String {
    let mut text = output.table(events, &EVENTS);
    let never = rows(found, "never_seen");
    let nowhere = rows(found, "named_nowhere");
    if !never.is_empty() {
        text.push_str("\nnamed and never seen:\n");
    }
    for it in never {
        let similar = rows(&it, "similar").iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", ");
        let meant = if similar.is_empty() { similar } else { format!("; seen and similar: {similar}") };
        let _ = writeln!(text, "  {}", plain(&format!("{} ({}){meant}", at(&it, "/event"), uses(&it))));
    }
    if !nowhere.is_empty() {
        text.push_str("\nseen and named nowhere:\n");
    }
    for it in nowhere {
        let from = place(&at(&it, "/exchange"));
        let _ =
            writeln!(text, "  {}", plain(&format!("{} from {from}, {} times", at(&it, "/event"), at(&it, "/seen"))));
    }
    if !found["other"].is_null() {
        let _ = writeln!(text, "  and further names, {} times together", at(found, "/other/seen"));
    }
    text
}

fn exchanges(row: &Value) -> String {
    rows(row, "exchanges").iter().filter_map(Value::as_str).map(place).collect::<Vec<_>>().join(", ")
}

fn place(exchange: &str) -> String {
    if exchange.is_empty() { "http".to_owned() } else { exchange.to_owned() }
}

/// `payment done, refund failed`
fn uses(row: &Value) -> String {
    let uses = rows(row, "used_by");
    let uses = uses.iter().map(|it| format!("{} {}", at(it, "/step"), at(it, "/as")).trim_start().to_owned());
    uses.collect::<Vec<_>>().join(", ")
}
