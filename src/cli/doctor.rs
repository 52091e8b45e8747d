//! `escrow doctor`: every finding on a line, worst first; 1 when one of them is a problem.

use serde_json::{Value, json};

use super::args::{DoctorArgs, ServerArgs};
use super::client::Client;
use super::failure::{FAILURE, Failure};
use super::output::{Column, Output, Said, at};
use super::start::{Finding, Start};
use crate::doctor::Level;

const FINDINGS: [Column; 4] = [
    ("", |row| at(row, "/level")),
    ("AREA", |row| at(row, "/area")),
    ("FOUND", |row| at(row, "/what")),
    ("DO", |row| at(row, "/advice")),
];

/// Runs the command.
pub async fn run(args: DoctorArgs, output: Output, program: &dyn Start) -> Result<Said, Failure> {
    let server = args.server.clone().filter(|server| !server.is_empty()).map(|server| ServerArgs {
        server,
        token_file: args.token_file.clone(),
        token: args.token.clone(),
        actor: None,
    });
    let mut findings = program.doctor(args.into_config()).await?;
    if let Some(server) = server {
        findings.extend(ask(&Client::new(server)?).await);
    }
    Ok(said(findings, output))
}

/// What a running Escrow says of itself.
async fn ask(client: &Client) -> Vec<Finding> {
    let status = match client.get(&["v1", "status"], &[]).await {
        Ok(status) => status,
        Err(failure) => {
            let advice = "start `escrow serve`, or mend --server";
            return vec![Finding::problem("server", failure.message, advice)];
        }
    };
    let mut findings = vec![Finding::ok("server", format!("Escrow {} answers", at(&status, "/version")))];
    let say = |what: String, advice: &str| Finding::problem("server", what, advice);
    for problem in status["problems"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        findings.push(say(problem.to_owned(), "do what it says"));
    }
    if let Some(problem) = status["bus"]["problem"].as_str() {
        findings.push(say(format!("its connection to the broker: {problem}"), "mend what it says"));
    }
    for saga in status["sagas"].as_array().into_iter().flatten() {
        let (name, detail) = (at(saga, "/saga"), at(saga, "/sight_detail"));
        match saga["sight"].as_str() {
            Some("blind") => findings.push(say(
                format!("it is blind on saga {name}: {detail}"),
                "mend that; until then no deadline of the saga fires",
            )),
            Some("behind") => findings.push(Finding::warning(
                "server",
                format!("it is behind on saga {name}"),
                "wait until it has read what waits in the tap",
            )),
            _ => {}
        }
    }
    findings
}

fn said(mut findings: Vec<Finding>, output: Output) -> Said {
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.level));
    let count = |level: Level| findings.iter().filter(|finding| finding.level == level).count();
    let (problems, warnings) = (count(Level::Problem), count(Level::Warning));
    let rows: Vec<Value> = findings
        .iter()
        .map(|it| json!({"level": it.level.word(), "area": it.area, "what": it.what, "advice": it.advice}))
        .collect();
    let whole = json!({"problems": problems, "warnings": warnings, "findings": rows});
    let text = output.report(&whole, &rows, &["level", "area", "what", "advice"], || output.table(&rows, &FINDINGS));
    let note = format!("{problems} problems, {warnings} warnings, {} checks", rows.len());
    Said { text, note: Some(note), exit: if problems > 0 { FAILURE } else { 0 } }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::args::Format;

    #[test]
    fn problems_come_first_and_decide_the_exit_code() {
        let fine = vec![Finding::ok("tap", "there"), Finding::warning("tap", "filling", "read it")];
        let said_fine = said(fine.clone(), Output::plain(Format::Table));
        assert_eq!(said_fine.exit, 0);
        let broken = [fine, vec![Finding::problem("database", "away", "start it")]].concat();
        let said_broken = said(broken, Output::plain(Format::Jsonl));
        assert_eq!(said_broken.exit, FAILURE);
        let first: Value = serde_json::from_str(said_broken.text.lines().next().unwrap()).unwrap();
        assert_eq!(first, json!({"level": "problem", "area": "database", "what": "away", "advice": "start it"}));
    }
}
