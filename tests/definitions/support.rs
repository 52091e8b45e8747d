//! Short ways to write definitions, and the table every expectation of a finding goes through.

use std::path::{Path, PathBuf};

use escrow::saga::definition::Saga;
use escrow::saga::parse::{Finding, Severity, parse};

/// A definition with these steps, each line indented by two, and nothing else of interest.
pub fn with_steps(steps: &str) -> String {
    format!(
        "saga: order\nversion: 1\nwatch: [{{ exchange: x }}]\nread: {{ event: /e, order_id: /o }}\nsteps:\n{steps}\n"
    )
}

/// A definition with one step and this in front.
pub fn with_head(head: &str) -> String {
    format!("{head}\nsteps:\n  placed:\n    done: OrderPlaced\n")
}

pub fn valid(text: &str) -> Saga {
    match parse("saga.yaml", text) {
        Ok(parsed) => parsed.saga,
        Err(findings) => panic!("{}\n{findings:#?}", numbered(text)),
    }
}

pub fn findings(text: &str) -> Vec<Finding> {
    match parse("saga.yaml", text) {
        Ok(parsed) => parsed.warnings,
        Err(findings) => findings,
    }
}

/// Expects one finding for each row: the text with the offending part between `«` and `»`, a part of the message, and a part of
/// the hint.
pub fn expect(severity: Severity, rows: &[(String, &str, &str)]) {
    for (marked, message, hint) in rows {
        let (text, offending, line, column) = unmark(marked);
        let found = findings(&text);
        let at_place: Vec<&Finding> =
            found.iter().filter(|finding| (finding.line, finding.column) == (line, column)).collect();
        let is_it = |finding: &&&Finding| {
            finding.severity == severity
                && finding.text == offending
                && finding.message.contains(message)
                && finding.hint.as_deref().unwrap_or_default().contains(hint)
        };
        assert!(
            at_place.iter().any(|finding| is_it(&finding)),
            "{}\nexpected at {line}:{column} `{offending}`: {message} / {hint}\nfound {found:#?}",
            numbered(&text)
        );
        if severity == Severity::Error {
            assert!(parse("saga.yaml", &text).is_err(), "{text}");
        } else {
            assert!(parse("saga.yaml", &text).is_ok(), "{found:#?}");
        }
    }
}

fn unmark(marked: &str) -> (String, String, usize, usize) {
    let (before, rest) = marked.split_once('«').expect("a mark");
    let (offending, after) = rest.split_once('»').expect("the end of the mark");
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().map_or(0, |line| line.chars().count()) + 1;
    (format!("{before}{offending}{after}"), offending.to_owned(), line, column)
}

fn numbered(text: &str) -> String {
    let lines: Vec<String> = text.lines().enumerate().map(|(ix, line)| format!("{:3} {line}", ix + 1)).collect();
    lines.join("\n")
}

/// Every definition file of the repository.
pub fn definition_files() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = |path: &Path| -> Vec<PathBuf> {
        let mut paths: Vec<PathBuf> = std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        paths
    };
    let sagas =
        folder(&root.join("sagas")).into_iter().filter(|path| path.extension().is_some_and(|end| end == "yaml"));
    let examples = folder(&root.join("examples")).into_iter().map(|path| path.join("saga.yaml"));
    sagas.chain(examples).filter(|path| path.exists()).collect()
}

pub fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap()
}
