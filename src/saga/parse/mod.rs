//! From the text of a definition file to a valid [`Saga`], or to all of its mistakes at once.
//!
//! ```text
//!   text ──tree──▶ nodes with places ──shape──▶ known keys, right kinds ──build──▶ Saga ──check──▶ it can be run
//!            │                           │                             │                     │
//!            └───────────────────────────┴───────────── findings ──────┴─────────────────────┘
//! ```
//!
//! Every stage goes on after a mistake and passes over what an earlier one has reported, so an author sees everything
//! in one run. Only a definition without errors leaves here. Never panics, whatever the text; never reads a file.

mod build;
mod check;
pub(crate) mod finding;
pub(crate) mod grammar;
mod graph;
pub(crate) mod hint;
pub(crate) mod leaf;
mod meaning;
mod selector;
pub(crate) mod shape;
mod together;
pub(crate) mod tree;

pub use finding::{Finding, Ink, Severity};
pub use together::check_together;

use super::definition::Saga;
use finding::Findings;

/// A definition that can be run.
#[derive(Clone, Debug)]
pub struct Parsed {
    pub saga: Saga,
    /// What may surprise; all of [`Severity::Warning`].
    pub warnings: Vec<Finding>,
}

/// Reads the definition `text`; `file` is the name findings call it by.
///
/// # Errors
/// Everything found, in the order of the file: at least one [`Severity::Error`], and the warnings.
pub fn parse(file: &str, text: &str) -> Result<Parsed, Vec<Finding>> {
    let mut findings = Findings::new(file, text);
    let Some(root) = tree::read(&mut findings) else { return Err(findings.into_list()) };
    shape::check(&root, &grammar::SAGA, &mut findings);
    let built = build::build(&root, &mut findings);
    check::check(&root, &built, &mut findings);
    if findings.has_errors() {
        Err(findings.into_list())
    } else {
        Ok(Parsed { saga: built.saga, warnings: findings.into_list() })
    }
}
