//! What a preset makes of a message: which part is the payload, what the rest says, and what is known without a selector.
//!
//! ```text
//!   CloudEvents structured │ body {type, id, source, time, data ◀─ payload}      rest: the body
//!   CloudEvents binary     │ headers cloudEvents:type, …   body ◀─ payload       rest: the attributes
//!   MassTransit            │ body {messageType, messageId, message ◀─ payload}   rest: the body
//!   NServiceBus            │ headers NServiceBus.…         body ◀─ payload       rest: the headers
//!   none                   │                               body ◀─ payload       rest: nothing
//! ```

use std::borrow::Cow;
use std::cell::OnceCell;

use serde_json::Value;

use super::pointer;
use super::preset::{cloudevents, masstransit, nservicebus};
use super::select::Found;
use crate::bus::Envelope;
use crate::saga::definition::Preset;
use crate::saga::time::Moment;

/// What of a message a preset looks at.
#[derive(Clone, Copy)]
pub(super) struct Parts<'m> {
    pub(super) envelope: &'m Envelope,
    pub(super) body: &'m [u8],
}

/// A message taken apart.
pub(super) struct Frame<'m> {
    /// Names of the event, the likeliest first; a definition may use any of them.
    pub(super) types: Vec<String>,
    pub(super) facts: Facts,
    /// `None` where the envelope carries none.
    pub(super) payload: Option<Cow<'m, [u8]>>,
    pub(super) rest: Rest<'m>,
    value: OnceCell<Result<Value, String>>,
}

/// What is known of a message without a selector.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Facts {
    pub(super) id: Option<String>,
    /// CloudEvents source.
    pub(super) source: Option<String>,
    /// The producer's own timestamp.
    pub(super) time: Option<Moment>,
}

/// What `envelope:/…` sees.
pub(super) enum Rest<'m> {
    Nothing,
    Text(&'m str),
    Table(Value),
}

/// Takes a message apart.
///
/// # Errors
/// It is not what the preset says; in words.
pub(super) fn frame(preset: Option<Preset>, parts: Parts<'_>) -> Result<Frame<'_>, String> {
    match preset {
        None => Ok(Frame::new(Vec::new(), Facts::default(), Some(Cow::Borrowed(parts.body)), Rest::Nothing)),
        Some(Preset::CloudEvents) => cloudevents::frame(parts),
        Some(Preset::MassTransit) => masstransit::frame(parts),
        Some(Preset::NServiceBus) => Ok(nservicebus::frame(parts)),
    }
}

impl<'m> Frame<'m> {
    pub(super) fn new(types: Vec<String>, facts: Facts, payload: Option<Cow<'m, [u8]>>, rest: Rest<'m>) -> Self {
        Self { types, facts, payload, rest, value: OnceCell::new() }
    }

    /// The places of `pointers` in the payload, in one walk.
    ///
    /// # Errors
    /// The payload is no JSON; in words.
    pub(super) fn find(&self, pointers: &[&str]) -> Result<Vec<Option<Found<'_>>>, String> {
        let Some(payload) = &self.payload else { return Ok(vec![None; pointers.len()]) };
        let found = pointer::text(payload).and_then(|text| pointer::find(text, pointers)).map_err(of_body)?;
        Ok(found.into_iter().map(|place| place.and_then(Found::written)).collect())
    }

    /// The place of `pointer` in the rest.
    ///
    /// # Errors
    /// The rest is no JSON; in words.
    pub(super) fn find_in_rest(&self, pointer: &str) -> Result<Option<Found<'_>>, String> {
        match &self.rest {
            Rest::Nothing => Ok(None),
            Rest::Table(table) => Ok(table.pointer(pointer).and_then(Found::given)),
            Rest::Text(text) => {
                let found = pointer::find(text, &[pointer]).map_err(of_body)?;
                Ok(found.into_iter().flatten().next().and_then(Found::written))
            }
        }
    }

    /// The payload as JSON; null where there is none.
    ///
    /// # Errors
    /// The payload is no JSON; in words.
    pub(super) fn value(&self) -> Result<&Value, &str> {
        let read = || match &self.payload {
            None => Ok(Value::Null),
            Some(payload) => pointer::text(payload)
                .and_then(|text| serde_json::from_str(text).map_err(|error| format!("no JSON: {error}")))
                .map_err(of_body),
        };
        self.value.get_or_init(read).as_ref().map_err(String::as_str)
    }

    /// The payload as expressions see it later; `None` where there is none, or it is no JSON.
    pub(super) fn view(&self) -> Option<&Value> {
        self.payload.as_ref().and_then(|_| self.value().ok())
    }
}

/// Says what the problem is with.
#[expect(clippy::needless_pass_by_value, reason = "the form `map_err` takes")]
pub(super) fn of_body(problem: String) -> String {
    format!("the body is {problem}")
}
