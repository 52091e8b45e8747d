//! The JSON envelope of MassTransit: the message under `message`, its types as a list of URNs, the most concrete first.

use std::borrow::Cow;

use super::{text, type_names};
use crate::saga::time::Moment;
use crate::wire::frame::{Facts, Frame, Parts, Rest, of_body};
use crate::wire::pointer;
use crate::wire::select::Found;

const URN: &str = "urn:message:";

/// Takes an envelope apart.
pub(in crate::wire) fn frame(parts: Parts<'_>) -> Result<Frame<'_>, String> {
    const PLACES: [&str; 4] = ["/messageType", "/messageId", "/sentTime", "/message"];
    let body = pointer::text(parts.body).map_err(of_body)?;
    let found = pointer::find(body, &PLACES).map_err(of_body)?;
    let place = |ix: usize| found.get(ix).copied().flatten().and_then(Found::written);
    let urns: Vec<String> = match place(0) {
        Some(Found::Written(types)) => serde_json::from_str(types.get())
            .map_err(|_| "the envelope's messageType is no list of texts".to_owned())?,
        Some(Found::Given(_) | Found::Text(_)) | None => Vec::new(),
    };
    let types = urns.iter().flat_map(|urn| type_names(urn.strip_prefix(URN).unwrap_or(urn), ':')).collect();
    let facts = Facts { id: text(place(1)), source: None, time: text(place(2)).and_then(|time| Moment::parse(&time)) };
    let payload = match place(3) {
        Some(Found::Written(message)) => Some(Cow::Borrowed(message.get().as_bytes())),
        Some(Found::Given(_) | Found::Text(_)) | None => None,
    };
    Ok(Frame::new(types, facts, payload, Rest::Text(body)))
}
