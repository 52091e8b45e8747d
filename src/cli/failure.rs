//! How a command fails: a sentence, a hint, and the exit code a script can act on.

use serde_json::{Value, json};

use crate::store::StoreError;

pub const FAILURE: u8 = 1;
pub const USAGE: u8 = 2;
pub const NOT_FOUND: u8 = 3;
pub const NOT_ALLOWED: u8 = 4;
pub const UNAVAILABLE: u8 = 6;

/// A failed command.
#[derive(Clone, Debug, PartialEq)]
pub struct Failure {
    pub exit: u8,
    /// Stable word for programs.
    pub code: String,
    pub message: String,
    pub hint: Option<String>,
    pub details: Value,
}

impl Failure {
    pub fn new(exit: u8, code: &str, message: impl Into<String>) -> Self {
        Self { exit, code: code.to_owned(), message: message.into(), hint: None, details: Value::Null }
    }

    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(USAGE, "usage", message)
    }

    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// What the API answered instead of what was asked for.
    pub fn answered(status: u16, body: &Value) -> Self {
        let exit = match status {
            400 | 405 | 413 | 415 | 422 => USAGE,
            401 | 403 => NOT_ALLOWED,
            404 => NOT_FOUND,
            429 | 502 | 503 | 504 => UNAVAILABLE,
            _ => FAILURE,
        };
        let text = |name: &str| body.get(name).and_then(Value::as_str).filter(|it| !it.is_empty());
        Self {
            exit,
            code: text("code").unwrap_or("unexpected").to_owned(),
            message: text("detail")
                .or(text("title"))
                .map_or_else(|| format!("the server answered {status}"), str::to_owned),
            hint: None,
            details: body.get("errors").cloned().unwrap_or(Value::Null),
        }
    }

    /// As programs read it.
    pub fn json(&self) -> Value {
        json!({"code": self.code, "message": self.message, "hint": self.hint, "details": self.details})
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        // A database that is away is another failure than one that is wrong: whoever starts Escrow may try again.
        let is_away = error.chain().any(|cause| matches!(cause.downcast_ref(), Some(StoreError::Unavailable(_))));
        let exit = if is_away { UNAVAILABLE } else { FAILURE };
        Self::new(exit, "failed", crate::worker::chain_of(error.as_ref()))
    }
}
