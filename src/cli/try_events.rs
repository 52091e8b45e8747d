//! `escrow try`: recorded events through a definition in virtual time, for a person or a CI job.

use std::path::Path;

use serde_json::{Value, json};

use super::args::TryArgs;
use super::failure::{FAILURE, Failure, USAGE};
use super::output::{Output, Said, plain};
use super::rehearsal::{Happening, Rehearsal, read_events, rehearse};
use crate::saga::definition::Saga;
use crate::saga::order::{Order, Status};
use crate::saga::parse::{Ink, parse};
use crate::saga::time::{Moment, Span};

/// An entry in a spreadsheet.
const ENTRY: [&str; 8] = ["saga", "order_id", "sequence", "at", "kind", "name", "changes", "published"];

/// Runs the command.
pub fn run(args: &TryArgs, output: Output) -> Result<Said, Failure> {
    let name = args.file.display().to_string();
    let text = read(&args.file)?;
    let saga = parse(&name, &text)
        .map_err(|findings| {
            let shown: String = findings.iter().map(|finding| finding.render(&text, Ink::Plain) + "\n").collect();
            Failure::new(FAILURE, "invalid", format!("{name} has mistakes\n{shown}"))
        })?
        .saga;
    let events = read_events(&read(&args.events)?)
        .map_err(|why| Failure::new(USAGE, "unreadable", format!("{}: {why}", args.events.display())))?;
    let start = events.first().map_or(Moment(0), |(at, _)| *at);
    let for_long = Span(i64::try_from(args.run_for.as_micros()).unwrap_or(i64::MAX / 2));
    let rehearsal = rehearse(saga.clone(), events, for_long);
    let bad =
        !rehearsal.quarantined.is_empty() || rehearsal.orders.values().any(|order| order.life.status == Status::Stuck);
    let entries: Vec<Value> = rehearsal.happenings.iter().map(|it| entry(&saga, it)).collect();
    let whole = json!({
        "entries": entries,
        "orders": rehearsal.orders.values().map(|it| outcome(&saga, it)).collect::<Vec<_>>(),
        "quarantined": rehearsal.quarantined, "ignored": rehearsal.ignored, "duplicates": rehearsal.duplicates,
    });
    let text = output.report(&whole, &entries, &ENTRY, || story(&saga, &rehearsal, start));
    Ok(Said { text, note: None, exit: if args.fail_on_stuck && bad { FAILURE } else { 0 } })
}

fn read(file: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(file)
        .map_err(|error| Failure::new(USAGE, "unreadable", format!("{}: {error}", file.display())))
}

/// The trail as a person reads it: when, whose, what, and what it changed.
fn story(saga: &Saga, rehearsal: &Rehearsal, start: Moment) -> String {
    let mut text = String::new();
    for it in &rehearsal.happenings {
        let entry = &it.entry.entry;
        let body = &entry.body;
        let changes = body.steps.iter().map(|change| {
            format!("{} {} → {}", saga.steps[change.step].name, change.from.word(), change.now.status.word())
        });
        let life = body.life.iter().filter(|life| life.from != life.now.status);
        let order = life.map(|life| format!("order {} → {}", life.from.word(), life.now.status.word()));
        let sent = it.sent.iter().map(|row| format!("sends {}", row.content.word()));
        let what: Vec<String> = changes.chain(order).chain(sent).collect();
        let name = body.name.as_deref().unwrap_or("");
        let at = entry.at.since(start).to_string();
        text += &plain(&format!(
            "{at:>8}  {:<16}  {:<12}  {name:<24}  {}",
            it.key.order_id,
            entry.kind.word(),
            what.join(", ")
        ));
        text.push('\n');
    }
    for order in rehearsal.orders.values() {
        text += &plain(&format!("order {}: {}", order.key.order_id, ending(saga, order)));
        text.push('\n');
    }
    for quarantined in &rehearsal.quarantined {
        text += &plain(&format!("quarantined: {quarantined}"));
        text.push('\n');
    }
    text + &format!("{} duplicates, {} deliveries that no step names\n", rehearsal.duplicates, rehearsal.ignored)
}

fn ending(saga: &Saga, order: &Order) -> String {
    let needs = order.life.needs.iter().map(|need| {
        let step = need.step.map_or(String::new(), |step| format!(" at {}", saga.steps[step].name));
        format!("{}{step}", need.reason.word())
    });
    let needs: Vec<String> = needs.collect();
    let why = if needs.is_empty() { String::new() } else { format!(" ({})", needs.join(", ")) };
    format!("{}{why}", order.life.status.word())
}

fn outcome(saga: &Saga, order: &Order) -> Value {
    json!({"saga": saga.name, "order_id": order.key.order_id, "status": order.life.status.word(), "ending": ending(saga, order)})
}

fn entry(saga: &Saga, it: &Happening) -> Value {
    let entry = &it.entry.entry;
    let changes: Vec<Value> = entry
        .body
        .steps
        .iter()
        .filter(|change| change.from != change.now.status)
        .map(|change| {
            json!({"step": saga.steps[change.step].name, "from": change.from.word(), "to": change.now.status.word()})
        })
        .collect();
    json!({
        "saga": it.key.saga, "order_id": it.key.order_id, "sequence": entry.sequence, "at": entry.at.rfc3339(),
        "kind": entry.kind.word(), "name": entry.body.name, "changes": changes,
        "published": it.sent.iter().map(|row| row.content.word()).collect::<Vec<_>>(),
    })
}
