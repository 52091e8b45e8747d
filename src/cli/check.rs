//! `escrow check` and `escrow schema`: definitions, without a server.

use std::path::PathBuf;

use serde_json::Value;

use super::failure::{FAILURE, Failure, USAGE};
use super::output::{Output, Said, pretty};
use crate::saga::definition::Saga;
use crate::saga::parse::{Finding, Ink, Severity, check_together, parse};
use crate::saga::schema::definition_schema;

/// A finding in a spreadsheet.
pub const FINDING: [&str; 7] = ["severity", "file", "line", "column", "text", "message", "hint"];

/// Validates files, each by itself and all together; 1 when any has an error.
pub fn check(files: &[PathBuf], output: Output) -> Result<Said, Failure> {
    let mut findings: Vec<Finding> = Vec::new();
    let mut sagas: Vec<(String, Saga)> = Vec::new();
    let mut texts: Vec<(String, String)> = Vec::new();
    for file in files {
        let name = file.display().to_string();
        let text = std::fs::read_to_string(file)
            .map_err(|error| Failure::new(USAGE, "unreadable", format!("{name}: {error}")))?;
        match parse(&name, &text) {
            Ok(parsed) => {
                findings.extend(parsed.warnings);
                sagas.push((name.clone(), parsed.saga));
            }
            Err(found) => findings.extend(found),
        }
        texts.push((name, text));
    }
    let together: Vec<(&str, &Saga)> = sagas.iter().map(|(name, saga)| (name.as_str(), saga)).collect();
    findings.extend(check_together(&together));
    let errors = findings.iter().filter(|it| it.severity == Severity::Error).count();
    let values: Vec<Value> =
        findings.iter().map(serde_json::to_value).collect::<Result<_, _>>().map_err(anyhow::Error::from)?;
    let text = output.report(&Value::Array(values.clone()), &values, &FINDING, || {
        let ink = if output.has_colour() { Ink::Coloured } else { Ink::Plain };
        let shown = findings.iter().map(|finding| {
            let source = texts.iter().find(|(name, _)| *name == finding.file).map_or("", |(_, text)| text.as_str());
            finding.render(source, ink) + "\n\n"
        });
        shown.collect::<String>() + &summary(files.len(), errors, findings.len() - errors) + "\n"
    });
    Ok(Said { text, note: None, exit: if errors == 0 { 0 } else { FAILURE } })
}

/// Prints the JSON Schema of a definition.
pub fn schema(output: Output) -> Said {
    output.one(&definition_schema(), pretty)
}

fn summary(files: usize, errors: usize, warnings: usize) -> String {
    let count = |number: usize, word: &str| format!("{number} {word}{}", if number == 1 { "" } else { "s" });
    let files = count(files, "file");
    match (errors, warnings) {
        (0, 0) => format!("{files}: nothing to say"),
        (0, _) => format!("{files}: {}", count(warnings, "warning")),
        (_, 0) => format!("{files}: {}", count(errors, "error")),
        _ => format!("{files}: {}, {}", count(errors, "error"), count(warnings, "warning")),
    }
}
