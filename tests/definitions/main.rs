//! The language of definitions: what is refused and how it is said, what is accepted and what it means, and that the JSON
//! Schema, the checker and every definition in the repository agree.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod broken;
mod files;
mod hostile;
mod meaning;
mod support;
mod together;
mod yaml;
