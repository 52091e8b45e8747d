//! Which definitions are followed: files propose, the database decides.
//!
//! A file is applied only if its version is higher than any stored of its saga; going back is a person's command. The same version must mean the same: a text
//! with another meaning is refused, while mode, brake, notify, attributes and `handled_by` may change without a version of their own. A
//! lower version, or a file that is gone, changes nothing: what is stored is followed.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;

use crate::faults::Step as _;
use crate::saga::catalog::Catalog;
use crate::saga::definition::Saga;
use crate::saga::parse::{Finding, Ink, Severity, check_together, parse};
use crate::saga::time::Moment;
use crate::store::{DefinitionRow, NewDefinition, Store, StoreError};

use super::{Escrow, Ran, Worker, WorkerError};

/// How often to look for definitions another replica applied.
const REFRESH_EVERY: Duration = Duration::from_secs(15);

/// Why definitions cannot be followed.
#[derive(Debug, thiserror::Error)]
pub enum DefinitionError {
    /// Mistakes in files, with the text of each file that has some.
    #[error("the definitions have mistakes\n{}", shown(.0))]
    Mistakes(Vec<(String, Vec<Finding>)>),
    #[error(
        "{file}: saga {saga} version {version} is stored with another meaning, and open orders rely on it; give the changed \
         definition a higher version, or put the stored text back (`escrow saga show {saga} -o json` has it)"
    )]
    Changed { file: String, saga: String, version: u32 },
    #[error("saga {saga} version {version} as stored cannot be read by this program: {why}")]
    Stored { saga: String, version: u32, why: String },
    #[error(transparent)]
    Store(#[from] StoreError),
}

fn shown(mistakes: &[(String, Vec<Finding>)]) -> String {
    let all = mistakes.iter().flat_map(|(text, findings)| findings.iter().map(|it| it.render(text, Ink::Plain)));
    all.collect::<Vec<_>>().join("\n")
}

/// Parses files, all mistakes of all of them at once, and those that only show when they are laid side by side.
///
/// # Errors
/// `Mistakes`.
pub fn parse_all(files: Vec<(String, String)>) -> Result<Vec<(String, Saga)>, DefinitionError> {
    let (mut sagas, mut mistakes) = (Vec::new(), Vec::new());
    for (file, text) in files {
        match parse(&file, &text) {
            Ok(parsed) => {
                for warning in &parsed.warnings {
                    tracing::warn!(file, line = warning.line, "{}", warning.message);
                }
                sagas.push((file, parsed.saga));
            }
            Err(findings) => mistakes.push((text, findings)),
        }
    }
    let named: Vec<(&str, &Saga)> = sagas.iter().map(|(file, saga)| (file.as_str(), saga)).collect();
    for finding in check_together(&named).into_iter().filter(|finding| finding.severity == Severity::Error) {
        let text = named.iter().find(|(file, _)| *file == finding.file).map(|(_, saga)| saga.text.clone());
        mistakes.push((text.unwrap_or_default(), vec![finding]));
    }
    if mistakes.is_empty() { Ok(sagas) } else { Err(DefinitionError::Mistakes(mistakes)) }
}

/// Stores what files propose, where it is new.
///
/// # Errors
/// Nothing of a changed definition is stored; those before it may be.
pub async fn propose(store: &dyn Store, files: Vec<(String, Saga)>) -> Result<(), DefinitionError> {
    let stored = store.definitions().at("definitions.stored").await?;
    for (file, saga) in files {
        let newest = stored.iter().filter(|row| row.saga == saga.name).max_by_key(|row| row.version);
        match newest {
            Some(row) if row.version > saga.version => {
                tracing::warn!(
                    file,
                    saga = saga.name,
                    stored = row.version,
                    "a newer version is stored; this file changes nothing"
                );
                continue;
            }
            Some(row) if row.version == saga.version && row.fingerprint != saga.fingerprint => {
                return Err(DefinitionError::Changed { file, saga: saga.name, version: saga.version });
            }
            Some(row) if row.version == saga.version && row.text == saga.text => continue,
            Some(_) | None => {}
        }
        tracing::info!(file, saga = saga.name, version = saga.version, "applying a definition");
        let definition = NewDefinition {
            saga: saga.name,
            version: saga.version,
            text: saga.text,
            fingerprint: saga.fingerprint,
            mode: saga.mode,
        };
        let (saga, version) = (definition.saga.clone(), definition.version);
        store.save_definition(definition).at("definitions.save").await.map_err(|error| match error {
            // Another replica was faster, with another text.
            StoreError::Refused(_) => DefinitionError::Changed { file, saga, version },
            other => DefinitionError::Store(other),
        })?;
    }
    Ok(())
}

/// Reads every stored definition.
///
/// # Errors
/// One that cannot be read: its orders could not be followed.
pub async fn load(store: &dyn Store) -> Result<Catalog, DefinitionError> {
    catalog(&store.definitions().at("definitions.load").await?)
}

/// Follows what is stored now.
///
/// # Errors
/// As [`load`]; what was followed still is.
pub async fn refresh(escrow: &Escrow) -> Result<(), DefinitionError> {
    escrow.set_catalog(load(escrow.store.as_ref()).await?);
    Ok(())
}

fn catalog(rows: &[DefinitionRow]) -> Result<Catalog, DefinitionError> {
    let mut catalog: Catalog = rows.iter().map(|row| read(row).map(Arc::new)).collect::<Result<_, _>>()?;
    for row in rows {
        if applied_last(rows, &row.saga) == Some(row.version) {
            catalog.apply_last(&row.saga, row.version);
        }
    }
    Ok(catalog)
}

/// The version of a saga that was applied last.
pub fn applied_last(rows: &[DefinitionRow], saga: &str) -> Option<u32> {
    let versions = rows.iter().filter(|row| row.saga == saga);
    versions.max_by_key(|row| (row.applied_at, row.version)).map(|row| row.version)
}

/// A stored definition.
///
/// # Errors
/// This program cannot read it.
pub fn read(row: &DefinitionRow) -> Result<Saga, DefinitionError> {
    let file = format!("{} version {} (stored)", row.saga, row.version);
    parse(&file, &row.text).map(|parsed| parsed.saga).map_err(|findings| DefinitionError::Stored {
        saga: row.saga.clone(),
        version: row.version,
        why: findings.first().map(|finding| finding.message.clone()).unwrap_or_default(),
    })
}

/// Notices definitions that another replica applied.
pub struct Definitions {
    escrow: Arc<Escrow>,
    known: Vec<(String, u32, Moment, String)>,
}

impl Definitions {
    /// A look at the stored definitions now and then.
    pub fn new(escrow: Arc<Escrow>) -> Self {
        Self { escrow, known: Vec::new() }
    }
}

impl Worker for Definitions {
    fn name(&self) -> &'static str {
        "definitions"
    }

    fn run_once(&mut self) -> BoxFuture<'_, Result<Ran, WorkerError>> {
        Box::pin(async move {
            let rows = self.escrow.store.definitions().at("definitions.look").await?;
            let known: Vec<_> =
                rows.iter().map(|row| (row.saga.clone(), row.version, row.applied_at, row.text.clone())).collect();
            if known != self.known {
                match catalog(&rows) {
                    Ok(catalog) => self.escrow.set_catalog(catalog),
                    Err(error) => tracing::error!(%error, "definitions changed, and this program cannot read them"),
                }
                self.known = known;
            }
            Ok(Ran::Idle(REFRESH_EVERY))
        })
    }

    fn nudged(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::pending())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAGA: &str =
        "saga: a\nversion: 1\nread: { event: /e, order_id: /o }\nwatch: [{ exchange: x }]\nsteps: { s: { done: D } }\n";

    #[test]
    fn mistakes_are_told_with_their_place_those_between_files_too() {
        let file = |name: &str, text: &str| (name.to_owned(), text.to_owned());
        let broken = parse_all(vec![file("a.yaml", SAGA), file("b.yaml", &SAGA.replace("done", "dun"))]);
        let told = broken.unwrap_err().to_string();
        assert!(told.contains("b.yaml:5:") && !told.contains("a.yaml:"), "{told}");
        let twice = parse_all(vec![file("a.yaml", SAGA), file("b.yaml", SAGA)]).unwrap_err().to_string();
        assert!(twice.contains("b.yaml:2:"), "{twice}");
        assert_eq!(parse_all(vec![file("a.yaml", SAGA)]).unwrap().len(), 1);
    }
}
