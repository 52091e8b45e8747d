//! `alerts.yaml`: from its text to channels and routes, or to all of its mistakes at once.
//!
//! ```text
//!   text ──tree──▶ nodes with places ──grammar──▶ known keys, right kinds ──build──▶ Rules
//!            │                             │                      │   ▲
//!            └─────────────────────────────┴───── findings ───────┘   └── the environment, for ${NAME}
//! ```
//!
//! Read by the reader of definitions, so a mistake is shown the same way. `${NAME}` anywhere in a value is what the environment
//! holds under that name; one that is missing is a mistake that names it, and what was put in is never shown.

mod build;
pub mod file;
mod grammar;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use super::channel::Channel;
use super::severity::{self, Severity};
use crate::saga::incident::{Incident, Routes};
use crate::saga::parse::finding::Findings;
use crate::saga::parse::{Finding, shape, tree};

/// What `alerts.yaml` says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// In the order of the file.
    pub channels: Vec<Channel>,
    /// Empty: all to all.
    pub routes: Vec<Route>,
    pub causes: BTreeMap<String, CauseRule>,
    pub runbook_url: Option<String>,
    /// Without a slash at its end.
    pub link: Option<String>,
}

/// Which incidents go to which channels. An empty list says nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Route {
    pub causes: Vec<String>,
    pub sagas: Vec<String>,
    pub severities: Vec<Severity>,
    pub to: Vec<String>,
}

/// What differs for one cause.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CauseRule {
    pub severity: Option<Severity>,
    pub runbook_url: Option<String>,
}

/// Looks a name up in the environment.
pub type Environment<'e> = &'e dyn Fn(&str) -> Option<String>;

/// Rules that can be followed, with what may surprise about them.
#[derive(Clone, Debug)]
pub struct Parsed {
    pub rules: Rules,
    pub warnings: Vec<Finding>,
}

/// Reads the rules `text`; `file` is the name findings call it by.
///
/// # Errors
/// Everything found, in the order of the file: at least one error, and the warnings.
pub fn parse(file: &str, text: &str, environment: Environment) -> Result<Parsed, Vec<Finding>> {
    let mut findings = Findings::new(file, text);
    let Some(root) = tree::read(&mut findings) else { return Err(findings.into_list()) };
    shape::check(&root, &grammar::ALERTS, &mut findings);
    let rules = build::build(&root, environment, &mut findings);
    if findings.has_errors() { Err(findings.into_list()) } else { Ok(Parsed { rules, warnings: findings.into_list() }) }
}

impl Rules {
    /// How bad an incident of this cause is.
    pub fn severity(&self, cause: &str) -> Severity {
        let said = self.causes.get(cause).and_then(|rule| rule.severity);
        said.unwrap_or_else(|| severity::severity_of(cause))
    }

    /// What to do about it.
    pub fn runbook_url(&self, cause: &str) -> Option<&str> {
        let own = self.causes.get(cause).and_then(|rule| rule.runbook_url.as_deref());
        own.or(self.runbook_url.as_deref())
    }

    /// The channel of this name.
    pub fn channel(&self, name: &str) -> Option<&Channel> {
        self.channels.iter().find(|channel| channel.name == name)
    }
}

impl Routes for Rules {
    fn channels(&self, incident: &Incident) -> Vec<String> {
        let severity = self.severity(&incident.about.cause);
        let fits = |route: &&Route| {
            (route.causes.is_empty() || route.causes.contains(&incident.about.cause))
                && (route.sagas.is_empty() || route.sagas.contains(&incident.about.saga))
                && (route.severities.is_empty() || route.severities.contains(&severity))
        };
        let fitting: Vec<&Route> = self.routes.iter().filter(fits).collect();
        let is_told = |name: &String| {
            self.routes.is_empty() || fitting.iter().any(|route| route.to.is_empty() || route.to.contains(name))
        };
        self.channels.iter().map(|channel| channel.name.clone()).filter(is_told).collect()
    }
}
