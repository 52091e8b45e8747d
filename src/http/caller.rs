//! Who calls, and under which idempotency key.
//!
//! A caller who showed a token has the token's name, whatever he calls himself. Where nobody has to show one, a caller names himself in
//! `X-Escrow-Actor`; without it he is `anonymous@ADDRESS`. The name goes into the journal as it is, so it must be one short line.

use std::net::SocketAddr;

use axum::extract::{ConnectInfo, FromRequestParts};
use axum::http::request::Parts;

use uuid::Uuid;

use super::access::Principal;
use super::problem::{Kind, Problem};
use crate::saga::order::OrderKey;
use crate::saga::outgoing::derived_id;

/// Longest name of an actor and longest idempotency key, in bytes.
const NAME_BYTES_MAX: usize = 255;

/// Longest reason a person gives, in bytes.
const REASON_BYTES_MAX: usize = 4096;

/// The caller of one request.
#[derive(Clone, Debug)]
pub struct Caller {
    pub actor: String,
    /// The name is that of a token.
    is_known: bool,
    idempotency_key: Option<String>,
}

impl Caller {
    /// The idempotency key, told apart by order: two orders never share one.
    pub fn key_for(&self, order: &OrderKey) -> Option<String> {
        let key = self.idempotency_key.as_ref()?;
        Some(derived_id(&["act", &order.saga, &order.order_id, key]).to_string())
    }

    /// The id of what the call makes: the same for the same idempotency key, of the same caller where callers are known.
    pub fn id_for(&self, what: &str) -> Uuid {
        self.idempotency_key.as_ref().map_or_else(Uuid::new_v4, |key| {
            if self.is_known { derived_id(&[what, &self.actor, key]) } else { derived_id(&[what, key]) }
        })
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        let known = parts.extensions.get::<Principal>().and_then(|it| it.name.clone());
        let is_known = known.is_some();
        let actor = match known.map_or_else(|| line(parts, "x-escrow-actor"), |name| Ok(Some(name)))? {
            Some(actor) => actor,
            None => match parts.extensions.get::<ConnectInfo<SocketAddr>>() {
                Some(ConnectInfo(address)) => format!("anonymous@{}", address.ip()),
                None => "anonymous".to_owned(),
            },
        };
        Ok(Self { actor, is_known, idempotency_key: line(parts, "idempotency-key")? })
    }
}

fn line(parts: &Parts, name: &str) -> Result<Option<String>, Problem> {
    let Some(value) = parts.headers.get(name) else { return Ok(None) };
    let text = std::str::from_utf8(value.as_bytes()).unwrap_or("").trim();
    let is_line = !text.is_empty() && text.len() <= NAME_BYTES_MAX && !text.chars().any(char::is_control);
    if is_line {
        Ok(Some(text.to_owned()))
    } else {
        let wanted = format!("`{name}` is one line of 1 to {NAME_BYTES_MAX} bytes of UTF-8 text");
        Err(Problem::new(Kind::BadHeader, wanted))
    }
}

/// The reason a person gives: trimmed, and there.
pub fn reason(given: Option<&str>) -> Result<String, Problem> {
    let text = given.unwrap_or("").trim();
    if text.is_empty() {
        return Err(Problem::body("/reason", "say why: `reason` goes into the journal"));
    }
    if text.len() > REASON_BYTES_MAX || text.contains('\0') {
        return Err(Problem::body("/reason", format!("`reason` is text of at most {REASON_BYTES_MAX} bytes")));
    }
    Ok(text.to_owned())
}
