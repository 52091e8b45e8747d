//! What the checker says: one mistake or doubt, with the place it stands at.
//!
//! A [`Finding`] is complete in itself, so that it can be listed as JSON; with the text of its file it can be shown the
//! way compilers do:
//!
//! ```text
//! error: there is no step `paymnt`
//!   --> sagas/order.yaml:14:12
//!    |
//! 14 |     after: paymnt
//!    |            ^^^^^^
//!    = help: did you mean `payment`?
//! ```

use std::ops::Range;

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};
use serde::Serialize;

/// How much a finding weighs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The definition is refused.
    Error,
    /// The definition works, and may surprise.
    Warning,
}

/// One thing the checker has to say about a definition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub severity: Severity,
    pub file: String,
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
    /// The offending text, at most the rest of its line; empty where something is missing.
    pub text: String,
    pub message: String,
    pub hint: Option<String>,
}

/// Whether a finding is shown with colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ink {
    Plain,
    Coloured,
}

/// Most characters of offending text that a finding repeats.
const TEXT_CHARS_MAX: usize = 120;

impl Finding {
    /// Shows the finding in `source`, the text of its file, the way compilers do.
    pub fn render(&self, source: &str, ink: Ink) -> String {
        let level = match self.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let renderer = match ink {
            Ink::Plain => Renderer::plain(),
            Ink::Coloured => Renderer::styled(),
        };
        let snippet = Snippet::source(source)
            .path(self.file.as_str())
            .annotation(AnnotationKind::Primary.span(self.span_in(source)));
        let group = level.primary_title(self.message.as_str()).element(snippet);
        let group = match &self.hint {
            Some(hint) => group.element(Level::HELP.message(hint.as_str())),
            None => group,
        };
        renderer.render(&[group])
    }

    /// The bytes of `source` it is about; never outside of it, whatever `source` is.
    fn span_in(&self, source: &str) -> Range<usize> {
        let line_start = match self.line {
            0 | 1 => 0,
            line => source.match_indices('\n').nth(line - 2).map_or(source.len(), |(at, _)| at + 1),
        };
        let line = source[line_start..].lines().next().unwrap_or_default();
        let within = line.char_indices().nth(self.column.saturating_sub(1)).map_or(line.len(), |(at, _)| at);
        let rest = &line[within..];
        let length = if rest.starts_with(&self.text) { self.text.len() } else { 0 };
        let length = if length == 0 { rest.chars().next().map_or(0, char::len_utf8) } else { length };
        line_start + within..line_start + within + length
    }
}

/// A part of the source, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Mark {
    pub start: usize,
    pub end: usize,
}

/// Everything found so far in one file.
pub(crate) struct Findings<'a> {
    file: &'a str,
    source: &'a str,
    list: Vec<(Mark, Finding)>,
}

impl<'a> Findings<'a> {
    pub fn new(file: &'a str, source: &'a str) -> Self {
        Self { file, source, list: Vec::new() }
    }

    /// The text of the file.
    pub fn source(&self) -> &'a str {
        self.source
    }

    /// The text at `mark`.
    pub fn text(&self, mark: Mark) -> &'a str {
        self.source.get(mark.start..mark.end).unwrap_or_default()
    }

    pub fn error(&mut self, mark: Mark, message: impl Into<String>, hint: impl Into<Option<String>>) {
        self.push(Severity::Error, mark, message.into(), hint.into());
    }

    pub fn warning(&mut self, mark: Mark, message: impl Into<String>, hint: impl Into<Option<String>>) {
        self.push(Severity::Warning, mark, message.into(), hint.into());
    }

    fn push(&mut self, severity: Severity, mark: Mark, message: String, hint: Option<String>) {
        let start = floor_boundary(self.source, mark.start);
        let before = &self.source[..start];
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        let end = floor_boundary(self.source, mark.end).max(start);
        let text = self.source[start..end].lines().next().unwrap_or_default().trim_end();
        self.list.push((
            mark,
            Finding {
                severity,
                file: self.file.to_owned(),
                line: before.matches('\n').count() + 1,
                column: self.source[line_start..start].chars().count() + 1,
                text: text.chars().take(TEXT_CHARS_MAX).collect(),
                message,
                hint,
            },
        ));
    }

    pub fn has_errors(&self) -> bool {
        self.list.iter().any(|(_, finding)| finding.severity == Severity::Error)
    }

    /// All findings in the order of the file, each once.
    pub fn into_list(mut self) -> Vec<Finding> {
        self.list.sort_by_key(|(mark, finding)| (mark.start, finding.severity));
        let mut sorted: Vec<Finding> = Vec::new();
        for (_, finding) in self.list {
            if !sorted.contains(&finding) {
                sorted.push(finding);
            }
        }
        sorted
    }
}

fn floor_boundary(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}
