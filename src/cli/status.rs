//! `escrow status`: how Escrow is, on one screen.

use serde_json::Value;

use super::args::{PageArgs, WatchArgs};
use super::client::Client;
use super::failure::Failure;
use super::lists::brake_in_words;
use super::output::{Column, Output, Said, at, card, when};

const SAGAS: [Column; 6] = [
    ("SAGA", |row| at(row, "/saga")),
    ("MODE", |row| at(row, "/mode")),
    ("SIGHT", |row| format!("{} {}", at(row, "/sight"), at(row, "/sight_detail")).trim_end().to_owned()),
    ("BRAKE", |row| brake(&row["brake"])),
    ("READ UP TO", |row| when(row, "/watermark")),
    ("ORDERS", |row| at(row, "/orders")),
];

const INCIDENTS: [Column; 2] = [("COUNT", |row| at(row, "/count")), ("INCIDENT", |row| at(row, "/why"))];

/// Incidents shown; there is a command for the rest.
const INCIDENTS_SHOWN: u32 = 5;

/// Runs the command.
pub async fn run(client: &Client, watch: WatchArgs, output: Output) -> Result<Said, Failure> {
    watch.follow(output, async || look(client, output).await).await
}

/// Whether it is ready, in a word; fails where it is not.
pub async fn probe(client: &Client, output: Output) -> Result<Said, Failure> {
    let ready = client.get(&["readyz"], &[]).await?;
    Ok(output.one(&ready, |_| "ready\n".to_owned()))
}

async fn look(client: &Client, output: Output) -> Result<Said, Failure> {
    let mut status = client.get(&["v1", "status"], &[]).await?;
    let page = PageArgs::first(INCIDENTS_SHOWN);
    let incidents = client.list(&["v1", "incidents"], &[], "incidents", &page).await?;
    status["incidents"] = Value::Array(incidents.items);
    Ok(output.one(&status, |it| screen(it, output)))
}

/// The screen.
pub fn screen(status: &Value, output: Output) -> String {
    let rows = |name: &str| status[name].as_array().cloned().unwrap_or_default();
    let mut text = card(&[
        ("escrow", format!("{} {}", at(status, "/name"), at(status, "/version"))),
        ("since", when(status, "/started_at")),
        ("broker", broker(&status["bus"])),
        ("outbox", outbox(&status["outbox"])),
        ("doubts", doubts(&status["doubts"])),
        ("problems", at(status, "/problems")),
    ]);
    text.push('\n');
    text.push_str(&output.table(&rows("sagas"), &SAGAS));
    let incidents = rows("incidents");
    if incidents.is_empty() {
        text.push_str("\nno incident is open\n");
    } else {
        text.push('\n');
        text.push_str(&output.table(&incidents, &INCIDENTS));
    }
    text
}

pub fn broker(bus: &Value) -> String {
    if bus.is_null() {
        return "none: events come over HTTP".to_owned();
    }
    let word = |name: &str| if bus[name] == true { "connected" } else { "away" };
    let depth = at(bus, "/tap_depth");
    let depth = if depth.is_empty() { String::new() } else { format!(", {depth} waiting in the tap") };
    let standby = if bus["consuming"] == true { "" } else { ", standby" };
    let problem = at(bus, "/problem");
    let problem = if problem.is_empty() { problem } else { format!("; {problem}") };
    let (reading, publishing) = (word("consuming_connected"), word("publishing_connected"));
    format!("reading {reading}{standby}, publishing {publishing}{depth}{problem}")
}

/// Said where there is something to say.
pub fn brake(brake: &Value) -> String {
    if brake["latched_at"].is_null() { at(brake, "/counted") } else { brake_in_words(brake) }
}

pub fn outbox(outbox: &Value) -> String {
    let oldest = when(outbox, "/oldest_at");
    if oldest.is_empty() { "empty".to_owned() } else { format!("{} since {oldest}", at(outbox, "/rows")) }
}

pub fn doubts(doubts: &Value) -> String {
    if doubts["gaps"] == 0 && doubts["quarantine"] == 0 {
        return "none".to_owned();
    }
    format!("{} gaps, {} messages in quarantine", at(doubts, "/gaps"), at(doubts, "/quarantine"))
}
