//! `escrow alert`: whom incidents are told to, without a running Escrow.

use std::path::Path;

use serde_json::{Value, json};

use super::args::{AlertArgs, AlertCommand};
use super::check::FINDING;
use super::failure::{FAILURE, Failure, NOT_FOUND, USAGE};
use super::output::{Column, Output, Said};
use crate::alert::rules::file::{self, RulesError, USUAL_FILE};
use crate::alert::rules::{Parsed, Rules};
use crate::alert::{Alerts, Answer, Channel};
use crate::clock::{Clock as _, System};
use crate::saga::parse::{Finding, Ink};

/// Runs one of the commands.
pub async fn run(args: AlertArgs, output: Output) -> Result<Said, Failure> {
    let config = args.config();
    let file = file::find(config.file.as_deref()).ok_or_else(|| {
        Failure::new(USAGE, "no_alerts", format!("there is no {USUAL_FILE} in this folder"))
            .with_hint("name the file with --alerts; docs/alerts.md says what stands in it")
    })?;
    match args.command {
        AlertCommand::Check => check(&file, output),
        AlertCommand::Test { channel } => test(&file, config.name, channel.as_deref(), output).await,
    }
}

fn check(file: &Path, output: Output) -> Result<Said, Failure> {
    let (text, findings, rules) = match file::read(file) {
        Ok((text, Parsed { rules, warnings })) => (text, warnings, Some(rules)),
        Err(RulesError::Mistakes { text, findings }) => (text, findings, None),
        Err(error) => return Err(unreadable(&error)),
    };
    let exit = if rules.is_some() { 0 } else { FAILURE };
    let rows = values(&findings)?;
    let text = output.report(&Value::Array(rows.clone()), &rows, &FINDING, || {
        let ink = if output.has_colour() { Ink::Coloured } else { Ink::Plain };
        let shown = findings.iter().map(|finding: &Finding| finding.render(&text, ink) + "\n\n");
        shown.collect::<String>() + &summary(file, rules.as_ref())
    });
    Ok(Said { text, note: None, exit })
}

fn values(findings: &[Finding]) -> Result<Vec<Value>, Failure> {
    let values: Result<Vec<Value>, _> = findings.iter().map(serde_json::to_value).collect();
    Ok(values.map_err(anyhow::Error::from)?)
}

fn summary(file: &Path, rules: Option<&Rules>) -> String {
    let Some(rules) = rules else { return format!("{}: not valid\n", file.display()) };
    let channels: Vec<String> =
        rules.channels.iter().map(|channel| format!("{} ({})", channel.name, channel.receiver.kind())).collect();
    let routes = match rules.routes.len() {
        0 => "everything goes to all of them".to_owned(),
        1 => "1 route".to_owned(),
        more => format!("{more} routes"),
    };
    format!("{}: {}; {routes}\n", file.display(), channels.join(", "))
}

fn unreadable(error: &RulesError) -> Failure {
    Failure::new(USAGE, "unreadable", crate::worker::chain_of(error))
}

/// The same in a spreadsheet.
const FIELDS: [&str; 6] = ["channel", "kind", "ok", "trigger", "resolve", "advice"];

const TRIED: [Column; 5] = [
    ("CHANNEL", |row| said(row, "channel")),
    ("KIND", |row| said(row, "kind")),
    ("TRIGGER", |row| said(row, "trigger")),
    ("RESOLVE", |row| said(row, "resolve")),
    ("WHAT TO DO", |row| said(row, "advice")),
];

fn said(row: &Value, name: &str) -> String {
    row[name].as_str().unwrap_or_default().to_owned()
}

async fn test(file: &Path, name: String, only: Option<&str>, output: Output) -> Result<Said, Failure> {
    let (_, Parsed { rules, .. }) = file::read(file).map_err(|error| match error {
        RulesError::Mistakes { .. } => Failure::new(FAILURE, "mistakes", error.to_string()),
        RulesError::Unreadable { .. } => unreadable(&error),
    })?;
    let alerts = Alerts::new(rules, name).map_err(anyhow::Error::from)?;
    let wanted: Vec<&Channel> =
        alerts.rules.channels.iter().filter(|channel| only.is_none_or(|name| name == channel.name)).collect();
    if let (Some(name), true) = (only, wanted.is_empty()) {
        let names: Vec<&str> = alerts.rules.channels.iter().map(|channel| channel.name.as_str()).collect();
        let failure = Failure::new(NOT_FOUND, "unknown_channel", format!("there is no channel `{name}`"));
        return Err(failure.with_hint(format!("the channels are {}", names.join(", "))));
    }
    let tries = wanted.into_iter().map(|channel| async {
        let tried = alerts.try_out(channel, System.now()).await;
        let is_fine = tried.trigger == Answer::Taken && tried.resolve == Answer::Taken;
        let row = json!({
            "channel": channel.name,
            "kind": channel.receiver.kind(),
            "ok": is_fine,
            "trigger": in_words(&tried.trigger),
            "resolve": in_words(&tried.resolve),
            "advice": if is_fine { "" } else { channel.receiver.advice() },
        });
        (row, is_fine)
    });
    let tried = futures_util::future::join_all(tries).await;
    let exit = if tried.iter().all(|(_, is_fine)| *is_fine) { 0 } else { FAILURE };
    let rows: Vec<Value> = tried.into_iter().map(|(row, _)| row).collect();
    let text = output.report(&Value::Array(rows.clone()), &rows, &FIELDS, || output.table(&rows, &TRIED));
    Ok(Said { text, note: None, exit })
}

fn in_words(answer: &Answer) -> String {
    match answer {
        Answer::Taken => "taken".to_owned(),
        Answer::Later { why, .. } => format!("not taken: {why}"),
        Answer::Refused(why) => format!("refused: {why}"),
    }
}
