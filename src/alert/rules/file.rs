//! The file on disk, and the environment of this process.

use std::path::{Path, PathBuf};

use super::{Parsed, Rules, parse};
use crate::saga::parse::{Finding, Ink};

/// Where rules are looked for when nobody says where.
pub const USUAL_FILE: &str = "alerts.yaml";

/// Why rules cannot be followed.
#[derive(Debug, thiserror::Error)]
pub enum RulesError {
    #[error("{file} cannot be read; name the file with --alerts")]
    Unreadable { file: String, source: std::io::Error },
    #[error("the alerts have mistakes\n{}", shown(.text, .findings))]
    Mistakes { text: String, findings: Vec<Finding> },
}

fn shown(text: &str, findings: &[Finding]) -> String {
    findings.iter().map(|it| it.render(text, Ink::Plain)).collect::<Vec<_>>().join("\n")
}

/// The file to read: the one that is named, or the usual one if it is there.
pub fn find(named: Option<&Path>) -> Option<PathBuf> {
    let usual = || Some(PathBuf::from(USUAL_FILE)).filter(|file| file.exists());
    named.map(Path::to_owned).or_else(usual)
}

/// Reads a file, and gives its text with what it says.
///
/// # Errors
/// It is not there, or has mistakes, of which one may be that the environment lacks a variable.
pub fn read(file: &Path) -> Result<(String, Parsed), RulesError> {
    let name = file.display().to_string();
    let text = std::fs::read_to_string(file).map_err(|source| RulesError::Unreadable { file: name.clone(), source })?;
    match parse(&name, &text, &|name| std::env::var(name).ok()) {
        Ok(parsed) => Ok((text, parsed)),
        Err(findings) => Err(RulesError::Mistakes { text, findings }),
    }
}

/// The rules to follow, if there are any; says what may surprise about them.
///
/// # Errors
/// As [`read`].
pub fn load(named: Option<&Path>) -> Result<Option<Rules>, RulesError> {
    let Some(file) = find(named) else { return Ok(None) };
    let (_, parsed) = read(&file)?;
    for warning in &parsed.warnings {
        tracing::warn!(file = warning.file, line = warning.line, "{}", warning.message);
    }
    Ok(Some(parsed.rules))
}
